//! What is to be masked in a line, and the masking itself.

/// What stands in the place of something hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// Anything without a mask of its own.
    Redacted,
    /// An IPv4 address, or its dashes form in a host name.
    Ipv4,
    /// The numbers of an IPv4 address in a host name of EC2.
    Ipv4Dashed,
    /// An IPv6 address.
    Ipv6,
    /// A password in a URL.
    Password,
    /// A private key of any number of lines.
    PrivateKey,
}

impl Mask {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Redacted => "***REDACTED***",
            Self::Ipv4 => "***.***.***.***",
            Self::Ipv4Dashed => "***-***-***-***",
            Self::Ipv6 => "***::***",
            Self::Password => "***",
            Self::PrivateKey => "***REDACTED PRIVATE KEY***",
        }
    }

    /// The masks that a search for known values must not look into: a secret `REDACTED` would be found there.
    pub(super) const BARRIERS: [Self; 5] = [Self::PrivateKey, Self::Redacted, Self::Ipv4, Self::Ipv4Dashed, Self::Ipv6];
}

/// A piece of a line, in bytes, and what is put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) mask: Mask,
}

impl Span {
    pub(super) const fn new(start: usize, end: usize, mask: Mask) -> Self {
        Self { start, end, mask }
    }
}

/// The line with the spans masked; `None` if that changes nothing.
///
/// Of spans that overlap, one that holds all others keeps its mask; otherwise all of them become one
/// `***REDACTED***`. So nothing of either is left.
pub(super) fn replace(line: &str, spans: &mut Vec<Span>) -> Option<String> {
    spans.retain(|span| line[span.start..span.end] != *span.mask.as_str());
    if spans.is_empty() {
        return None;
    }
    // The longer one first where two begin together: it holds the other.
    spans.sort_unstable_by_key(|span| (span.start, usize::MAX - span.end));
    let mut masked = String::with_capacity(line.len() + 16);
    let mut shown = 0;
    let mut rest = spans.iter().copied().peekable();
    while let Some(mut span) = rest.next() {
        while let Some(next) = rest.next_if(|next| next.start < span.end) {
            if next.end > span.end {
                span = Span::new(span.start, next.end, Mask::Redacted);
            }
        }
        masked.push_str(&line[shown..span.start]);
        masked.push_str(span.mask.as_str());
        shown = span.end;
    }
    masked.push_str(&line[shown..]);
    Some(masked)
}

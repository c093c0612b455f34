//! What is found by its characters alone: account ids, IP addresses, bare secret keys. And the one cheap look at a
//! line that says which rules it needs at all: most lines need none.

use std::net::Ipv6Addr;

use super::span::{Mask, Span};

/// What a line has that makes a rule worth running.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four findings that have nothing to do with each other")]
pub(super) struct Hints {
    /// Twelve digits in a row.
    digits: bool,
    /// Three dots between digits.
    dots: bool,
    /// `::`, or six colons.
    colons: bool,
    /// Forty characters of base64 in a row.
    pub(super) base64: bool,
}

const DIGIT: u8 = 1;
const HEX: u8 = 2;
const BASE64: u8 = 4;
const COLON: u8 = 8;
const DOT: u8 = 16;
const OTHER: u8 = 32;

/// The classes of each byte.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let b = byte as u8;
        table[byte] = match b {
            b'0'..=b'9' => DIGIT | HEX | BASE64,
            b'a'..=b'f' | b'A'..=b'F' => HEX | BASE64,
            b'g'..=b'z' | b'G'..=b'Z' | b'+' | b'/' => BASE64,
            b':' => COLON,
            b'.' => DOT,
            _ => OTHER,
        };
        byte += 1;
    }
    table
};

/// The longest IPv6 address in text, with an IPv4 one at its end.
const LONGEST_IPV6: usize = 45;

/// Looks at each byte once.
pub(super) fn hints(line: &[u8]) -> Hints {
    let (mut digits, mut base64, mut dots, mut colons) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut hints = Hints::default();
    let mut before = OTHER;
    for &byte in line {
        let class = CLASS[byte as usize];
        digits = if class & DIGIT == 0 { 0 } else { digits + 1 };
        base64 = if class & BASE64 == 0 { 0 } else { base64 + 1 };
        hints.digits |= digits == 12;
        hints.base64 |= base64 == 40;
        dots += usize::from(class == DOT && before & DIGIT != 0);
        colons += usize::from(class == COLON);
        hints.colons |= class == COLON && before == COLON;
        before = class;
    }
    hints.dots = dots >= 3;
    hints.colons |= colons >= 6;
    hints
}

/// Finds account ids, addresses and bare secret keys.
pub(super) fn find(line: &str, hints: Hints, spans: &mut Vec<Span>) {
    let line = line.as_bytes();
    if hints.digits || hints.dots {
        numbers(line, hints, spans);
    }
    if hints.colons {
        runs(line, HEX | COLON | DOT, 2, |start, end| spans.extend(ipv6(line, start, end)));
    }
    if hints.base64 {
        runs(line, BASE64, 40, |start, end| spans.extend(secret_key(line, start, end)));
    }
}

/// Calls `found` with each longest run of at least `least` bytes of these classes.
fn runs(line: &[u8], classes: u8, least: usize, mut found: impl FnMut(usize, usize)) {
    let mut at = 0;
    while at < line.len() {
        let start = at;
        while at < line.len() && CLASS[line[at] as usize] & classes != 0 {
            at += 1;
        }
        if at - start >= least {
            found(start, at);
        }
        at += 1;
    }
}

fn numbers(line: &[u8], hints: Hints, spans: &mut Vec<Span>) {
    let mut address_end = 0;
    runs(line, DIGIT, 1, |start, end| {
        for start in starts(line, start, end) {
            if hints.digits && end - start == 12 && is_alone(line, start, end) && !ends_uuid(line, start) {
                spans.push(Span::new(start, end, Mask::Redacted));
            }
            // The parts of one address are not the beginnings of others.
            if hints.dots
                && start >= address_end
                && let Some(end) = ipv4(line, start)
            {
                spans.push(Span::new(start, end, Mask::Ipv4));
                address_end = end;
            }
        }
    });
}

/// Where a run of characters may really begin: where it does, and behind an escape sequence whose last characters look
/// like a part of it (`%2F`, `\u003c`).
fn starts(line: &[u8], start: usize, end: usize) -> impl Iterator<Item = usize> {
    let hex = |range: std::ops::Range<usize>| line[range].iter().all(|b| CLASS[*b as usize] & HEX != 0);
    let behind = |sign: &[u8], digits: usize| {
        // The sign is somewhere in the characters before the run, its hex digits reach into it.
        (1..=digits).map(move |inside| start + inside).find(|&real| {
            real < end
                && real >= digits + sign.len()
                && line[real - digits - sign.len()..].starts_with(sign)
                && hex(real - digits..real)
        })
    };
    [Some(start), behind(b"%", 2), behind(b"\\u", 4)].into_iter().flatten()
}

/// Whether what begins at `start` is the last group of a UUID: run ids and lock ids are to be read, and one in 280 ends in
/// twelve digits.
fn ends_uuid(line: &[u8], start: usize) -> bool {
    const BEFORE: &[u8] = b"xxxxxxxx-xxxx-xxxx-xxxx-";
    let Some(first) = start.checked_sub(BEFORE.len()) else { return false };
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'x' { byte.is_ascii_hexdigit() } else { byte == shape };
    line[first..start].iter().zip(BEFORE).all(fits) && is_word_start(line, first)
}

/// Whether nothing that belongs to a word or a longer number touches the bytes from `start` to `end`.
fn is_alone(line: &[u8], start: usize, end: usize) -> bool {
    !line.get(end).is_some_and(u8::is_ascii_alphanumeric) && is_word_start(line, start)
}

/// Whether a word may begin here: nothing of another word before it, or an escape sequence that ends in a letter.
pub(super) fn is_word_start(line: &[u8], at: usize) -> bool {
    let before = &line[..at];
    let Some(last) = before.last() else { return true };
    if !last.is_ascii_alphanumeric() {
        return true;
    }
    let hex = |count: usize| before[before.len() - count..].iter().all(u8::is_ascii_hexdigit);
    let ends = |digits: usize, sign: &[u8]| {
        before.len() >= digits + sign.len() && hex(digits) && before[..before.len() - digits].ends_with(sign)
    };
    // In JSON `\n`, in a URL `%3A`, in JSON from Go `\u003c`, on a terminal `ESC [1;31m`.
    let letter = matches!(last, b'n' | b't' | b'r') && before[..at - 1].ends_with(b"\\");
    let colour = *last == b'm'
        && before[..at - 1]
            .iter()
            .rposition(|b| !(b.is_ascii_digit() || *b == b';'))
            .is_some_and(|open| before[open] == b'[' && before[..open].ends_with(b"\x1b"));
    letter || colour || ends(2, b"%") || ends(4, b"\\u")
}

/// The end of the IPv4 address that begins at `start`. Five numbers with dots between them are no address.
fn ipv4(line: &[u8], start: usize) -> Option<usize> {
    let digit = |at: usize| line.get(at).is_some_and(u8::is_ascii_digit);
    let dot = |at: usize| line.get(at) == Some(&b'.');
    if start >= 2 && dot(start - 1) && digit(start - 2) {
        return None;
    }
    // `v1.2.3.4` is a version.
    if start >= 1 && matches!(line[start - 1], b'v' | b'V') && is_word_start(line, start - 1) {
        return None;
    }
    let mut at = start;
    for part in 0..4 {
        let octet = at;
        while digit(at) && at - octet < 4 {
            at += 1;
        }
        let text = std::str::from_utf8(&line[octet..at]).ok()?;
        if at - octet > 3 || text.parse::<u8>().is_err() {
            return None;
        }
        if part < 3 {
            if !dot(at) {
                return None;
            }
            at += 1;
        }
    }
    (!(dot(at) && digit(at + 1))).then_some(at)
}

/// The IPv6 address in a run of hex digits, colons and dots.
fn ipv6(line: &[u8], start: usize, end: usize) -> Option<Span> {
    // Sentences go on behind an address, and keys end before it: `address: fe80::1: refused`.
    let mut end = end;
    while end > start && (line[end - 1] == b'.' || line[end - 1] == b':' && !line[..end].ends_with(b"::")) {
        end -= 1;
    }
    let followed = line.get(end).is_some_and(u8::is_ascii_alphanumeric);
    if followed || end - start > 4 * LONGEST_IPV6 {
        return None;
    }
    // A word or key that ends in hex digits may come before it: `found:fe80::1`, `cidr:::1`.
    let first = line[start..end].iter().position(|b| *b == b':')? + 1;
    let double = if line[start..].starts_with(b"::") { 2 } else { 0 };
    starts(line, start, end).chain([start + first, start + double]).find_map(|start| {
        let text = std::str::from_utf8(line.get(start..end)?).ok()?;
        let has_digit = text.bytes().any(|b| b.is_ascii_digit());
        // `::` alone says nothing, and `::add` is a word behind colons.
        let is_word = text.starts_with("::") && !has_digit;
        let address = text.len() <= LONGEST_IPV6 && !is_word && is_word_start(line, start);
        (address && text.parse::<Ipv6Addr>().is_ok()).then_some(Span::new(start, end, Mask::Ipv6))
    })
}

/// A secret access key that stands alone: exactly forty characters of base64 that are no commit id, path or word.
fn secret_key(line: &[u8], start: usize, end: usize) -> Option<Span> {
    starts(line, start, end).chain([start + 1]).find_map(|start| {
        let key = line.get(start..end).filter(|key| key.len() == 40)?;
        let joins = |at: Option<&u8>| at.is_some_and(|b| matches!(b, b'=' | b'-' | b'_'));
        let alone = (is_word_start(line, start)) && !joins(line.get(end)) && !line[..start].ends_with(b"_");
        (alone && looks_random(key)).then_some(Span::new(start, end, Mask::Redacted))
    })
}

/// Whether upper case, lower case and digits change as often as in random base64 (25 times in 40 characters, seldom
/// under 16); words in camel case change about 12 times, and commit ids have no upper case.
fn looks_random(key: &[u8]) -> bool {
    let kind = |b: &u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changes = key.windows(2).filter(|pair| kind(&pair[0]) != kind(&pair[1])).count();
    let has = |wanted: u8| key.iter().any(|b| kind(b) == wanted);
    changes >= 14 && has(0) && has(1) && has(2)
}

//! YAML with the place of everything in it, and with scalars as they are written.
//!
//! Reading into types would lose both: an account id that begins with a zero, and the line of the value that contradicts
//! another file. Only what JSON can say is accepted: no anchors, no tags, no second document.

use camino::Utf8Path;
use serde_json::{Map as JsonMap, Number, Value as Json};
use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::problem::{Problem, line_and_column};

/// Deeper nesting is a mistake, or an attack on the stack.
const DEEPEST: usize = 64;

/// A value and the byte at which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub at: usize,
    pub data: Data,
}

#[derive(Debug)]
pub(super) enum Data {
    /// A scalar; a plain one may be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A name with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub at: usize,
    pub value: Node,
}

impl Node {
    /// The value of a name, where this is a map.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        let Data::Map(entries) = &self.data else { return None };
        entries.iter().find(|entry| entry.name == name)
    }

    /// The same as JSON, or the byte of what JSON cannot say and why.
    pub(super) fn to_json(&self) -> Result<Json, (usize, String)> {
        Ok(match &self.data {
            Data::Scalar { text, plain: false } => Json::String(text.clone()),
            Data::Scalar { text, plain: true } => plain(text).map_err(|why| (self.at, why))?,
            Data::List(items) => Json::Array(items.iter().map(Node::to_json).collect::<Result<_, _>>()?),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| Ok((entry.name.clone(), entry.value.to_json()?)));
                Json::Object(pairs.collect::<Result<JsonMap<_, _>, _>>()?)
            }
        })
    }
}

/// What a scalar without quotes means, by the core schema of YAML 1.2. A number that would come out different from how
/// it is written is refused.
fn plain(text: &str) -> Result<Json, String> {
    let quote = |what: &str| Err(format!("`{text}` {what}; write it in quotes if it is text"));
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Json::Null),
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return quote("is a number that Terraform does not know");
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let other_base = |prefix: &str, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    if other_base("0x", 16) || other_base("0o", 8) {
        return quote("is a number that is not decimal");
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = (digits(whole) || (whole.is_empty() && digits(fraction)))
        && (fraction.is_empty() || digits(fraction))
        && exponent.is_none_or(digits);
    if !is_number {
        return Ok(Json::String(text.to_owned()));
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return quote("is a number that begins with a zero, which it would lose");
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    if exponent.is_none() && !mantissa.contains('.') {
        let number = signed.parse::<i64>().map(Number::from).or_else(|_| signed.parse::<u64>().map(Number::from));
        return number.map(Json::Number).or_else(|_| quote("is a number with too many digits"));
    }
    // A double keeps 15 decimal digits, whatever they are.
    let significant = format!("{whole}{fraction}").trim_start_matches('0').trim_end_matches('0').len();
    let number = signed.parse::<f64>().ok().filter(|_| significant <= 15).and_then(Number::from_f64);
    number.map(Json::Number).map_or_else(|| quote("is a number with too many digits"), Ok)
}

/// Reads a file that is a map.
pub(super) fn parse(file: &Utf8Path, text: &str) -> Result<Node, Box<Problem>> {
    match parse_any(file, text)? {
        Some(root @ Node { data: Data::Map(_), .. }) => Ok(root),
        Some(node) if matches!(node.to_json(), Ok(Json::Null)) => Err(empty(file)),
        None => Err(empty(file)),
        Some(Node { at, data }) => {
            let what = if matches!(data, Data::List(_)) { "a list" } else { "a single value" };
            let problem = Problem::at(file, text, at, format!("it holds {what}, not `name: value` lines"));
            Err(Box::new(problem.hint("write `account_id: \"…\"`, `region: …` and so on at the top of the file")))
        }
    }
}

/// Reads a file that may be anything; `None` if nothing is in it.
pub(super) fn parse_any(file: &Utf8Path, text: &str) -> Result<Option<Node>, Box<Problem>> {
    let mut reader = Reader { file, text, open: Vec::new(), root: None, documents: 0 };
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let at = byte(text, error.marker());
            let (message, hint) = explained(&error.info(), text, at);
            Box::new(Problem::at(file, text, at, message).hint(hint))
        })?;
        reader.event(event, byte(text, &span.start))?;
    }
    Ok(reader.root)
}

fn empty(file: &Utf8Path) -> Box<Problem> {
    let problem = Problem::of_file(file, "it is empty");
    Box::new(problem.hint("write `account_id: \"…\"`, `region: …` and so on into it, or remove it"))
}

/// What the parser says, with advice where a person's slip is known.
fn explained(message: &str, text: &str, at: usize) -> (String, &'static str) {
    let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
    let line = text[line..].lines().next().unwrap_or_default();
    let hint = if line.contains('\t') {
        "YAML is indented by spaces, never by tabs"
    } else if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|marker| line.starts_with(marker)) {
        "resolve the merge conflict and commit the file again"
    } else {
        "lines have the form `name: value`; what belongs together is indented alike"
    };
    (message.to_owned(), hint)
}

fn byte(text: &str, marker: &Marker) -> usize {
    let at = marker.byte_offset().or_else(|| text.char_indices().nth(marker.index()).map(|(at, _)| at));
    let mut at = at.unwrap_or(text.len()).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A list or a map that has not ended yet.
enum Open {
    List { at: usize, items: Vec<Node> },
    Map { at: usize, entries: Vec<Entry>, name: Option<(String, usize)> },
}

struct Reader<'a> {
    file: &'a Utf8Path,
    text: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, at: usize) -> Result<(), Box<Problem>> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.problem(at, "a second document begins here", "write one file for each"));
                }
                Ok(())
            }
            Event::Alias(..) => Err(self.anchored(at)),
            Event::Scalar(text, style, anchor, tag) => {
                self.bare(at, anchor, tag.as_deref())?;
                let plain = style == ScalarStyle::Plain;
                self.node(Node { at, data: Data::Scalar { text: text.into_owned(), plain } })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.bare(at, anchor, tag.as_deref())?;
                self.enter(at, Open::List { at, items: Vec::new() })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.bare(at, anchor, tag.as_deref())?;
                self.enter(at, Open::Map { at, entries: Vec::new(), name: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.node(Node { at, data: Data::List(items) }),
                Some(Open::Map { at, entries, .. }) => self.node(Node { at, data: Data::Map(entries) }),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn enter(&mut self, at: usize, open: Open) -> Result<(), Box<Problem>> {
        if self.open.len() >= DEEPEST {
            return Err(self.problem(at, &format!("it is nested more than {DEEPEST} levels deep"), "flatten it"));
        }
        if let Some(Open::Map { name: None, .. }) = self.open.last() {
            return Err(self.problem(at, "a list or a map cannot be a name", "write `name: value`"));
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn node(&mut self, node: Node) -> Result<(), Box<Problem>> {
        let (file, text) = (self.file, self.text);
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, name, .. }) => match (name.take(), node) {
                (Some((name, at)), value) => entries.push(Entry { name, at, value }),
                (None, Node { at, data: Data::Scalar { text: key, plain } }) => {
                    if plain && key == "<<" {
                        return Err(self.anchored(at));
                    }
                    if let Some(first) = entries.iter().find(|entry| entry.name == key) {
                        let line = line_and_column(text, first.at).0;
                        let problem = Problem::at(file, text, at, format!("`{key}` is set twice"));
                        let hint = format!("`{key}` is set on line {line} already; remove one of the two");
                        return Err(Box::new(problem.hint(hint)));
                    }
                    *name = Some((key, at));
                }
                (None, _) => {}
            },
        }
        Ok(())
    }

    /// Refuses what would make a value depend on another place.
    fn bare(&self, at: usize, anchor: usize, tag: Option<&Tag>) -> Result<(), Box<Problem>> {
        if anchor != 0 {
            return Err(self.anchored(at));
        }
        match tag {
            None => Ok(()),
            Some(_) => Err(self.problem(at, "tags (`!…`) are not read", "remove the tag; quotes make a text of it")),
        }
    }

    fn anchored(&self, at: usize) -> Box<Problem> {
        let hint = "write the values out: a deployment's file says itself where it belongs";
        self.problem(at, "anchors (`&…`), aliases (`*…`) and `<<` are not read", hint)
    }

    fn problem(&self, at: usize, message: &str, hint: &str) -> Box<Problem> {
        Box::new(Problem::at(self.file, self.text, at, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Node, String> {
        parse(Utf8Path::new("x.yaml"), text).map_err(|problem| problem.to_string())
    }

    fn json(text: &str) -> Result<String, String> {
        parsed(text)?.to_json().map(|json| json.to_string()).map_err(|(at, why)| format!("{at}: {why}"))
    }

    #[test]
    fn values_keep_their_types() {
        let text = "text: a b\nquoted: \"1\"\nn: 3\nbig: 18446744073709551615\nneg: -7\nf: 0.25\ne: 1e3\nyes: yes\non: true\n\
                    nothing: ~\ngone:\nlist: [1, two, {a: b}]\nmap:\n  012: x\n  date: 2024-01-02\nlong: |\n  a\n  b\n";
        assert_eq!(
            json(text).unwrap(),
            r#"{"text":"a b","quoted":"1","n":3,"big":18446744073709551615,"neg":-7,"f":0.25,"e":1000.0,"yes":"yes","on":true,"nothing":null,"gone":null,"list":[1,"two",{"a":"b"}],"map":{"012":"x","date":"2024-01-02"},"long":"a\nb\n"}"#
        );
    }

    #[test]
    fn numbers_that_would_change_are_refused() {
        for bad in ["012345678901", "18446744073709551616", "0x1F", "0o17", ".inf", "-.nan", "0.1234567890123456789"] {
            let error = json(&format!("a: {bad}\n")).unwrap_err();
            assert!(error.starts_with(&format!("3: `{bad}` is a number")), "{error}");
        }
        let node = parsed("id: 012345678901\n").unwrap();
        assert!(
            matches!(&node.get("id").unwrap().value.data, Data::Scalar { text, plain: true } if text == "012345678901")
        );
    }

    #[test]
    fn what_json_cannot_say_is_refused_with_its_place() {
        for (text, start) in [
            ("", "x.yaml: it is empty"),
            ("# only a comment\n---\n", "x.yaml: it is empty"),
            ("- a\n- b\n", "x.yaml:1:1: it holds a list"),
            ("just words\n", "x.yaml:1:1: it holds a single value"),
            ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: `a` is set twice"),
            ("a: &x 1\nb: 2\n", "x.yaml:1:"),
            ("a: 1\nb: {<<: {c: 1}}\n", "x.yaml:2:5: anchors"),
            ("a: !!str 1\n", "x.yaml:1:"),
            ("a: 1\n---\nb: 1\n", "x.yaml:2:"),
            ("? [a, b]\n: c\n", "x.yaml:1:3: a list or a map cannot be a name"),
            ("a: [1, 2\n", "x.yaml:"),
            ("a: b: c\n", "x.yaml:1:"),
            ("a:\n\tb: c\n", "x.yaml:2:"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(start), "{text:?}: {error}");
        }
        let deep = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
        assert!(parsed(&deep).unwrap_err().contains("64 levels"));
    }

    proptest! {
        #[test]
        fn whatever_it_is_nothing_panics(text in "[-a-c:#&*!|>{}\\[\\]'\", \t\n0-9é]{0,80}") {
            if let Ok(node) = parsed(&text) {
                let _ = node.to_json();
            }
        }
    }
}

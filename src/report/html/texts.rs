//! What Terraform printed, as the page has it: coloured, and no more of it than a browser bears.
//!
//! The texts of all deployments together are bounded, and given out in the order of the page: what failed has its text
//! first. What is left out is said, with the file that has it.

use std::fs::File;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use maud::{Escaper, Markup, PreEscaped, html};

use crate::event::DeploymentResult;
use crate::report::text;

/// How much of one plan is shown, in bytes: its beginning.
const PLAN: usize = 64 * 1024;

/// How much of one output is shown, in bytes: its end.
const OUTPUT: usize = 32 * 1024;

/// How much all texts may come to, in bytes of the page.
const ALL: usize = 20 * 1024 * 1024;

/// What the page shows of the texts of one deployment.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Its plan.
    pub plan: Option<Shape>,
    /// The end of what Terraform printed, where the plan does not say the same.
    pub output: Option<Shape>,
}

/// What became of one text.
#[derive(Debug)]
pub(super) enum Shape {
    /// It is shown: whole, or so many bytes of so many.
    Text { markup: Markup, cut: Option<(usize, u64)> },
    /// The page has no room for it.
    NoRoom { bytes: u64 },
    /// The file is not there any more, or cannot be read.
    Unreadable { path: Utf8PathBuf, why: String },
}

/// The texts of all deployments, in the order of the page.
#[derive(Debug)]
pub(super) struct Texts {
    all: Vec<Shown>,
}

impl Texts {
    pub(super) fn read(results: &[&DeploymentResult]) -> Self {
        Self::within(ALL, results)
    }

    fn within(mut room: usize, results: &[&DeploymentResult]) -> Self {
        let all = results.iter().map(|result| shown(result, &mut room)).collect();
        Self { all }
    }

    pub(super) fn of(&self, at: usize) -> &Shown {
        &self.all[at]
    }

    /// What the page as a whole has not.
    pub(super) fn notices(&self) -> Vec<String> {
        let shapes = || self.all.iter().flat_map(|shown| [&shown.plan, &shown.output]).flatten();
        let cut = shapes().filter(|shape| matches!(shape, Shape::Text { cut: Some(_), .. })).count();
        let left_out = shapes().filter(|shape| matches!(shape, Shape::NoRoom { .. })).count();
        let mut notices = Vec::new();
        if cut > 0 {
            notices.push(format!("{} cut short; each says where the whole of it is.", were(cut)));
        }
        if left_out > 0 {
            let most = ALL / 1024 / 1024;
            notices.push(format!(
                "{} left out: all texts of this page together have {most} MiB, and the first of it is for what failed.",
                were(left_out)
            ));
        }
        notices
    }
}

fn were(count: usize) -> String {
    if count == 1 { "1 text was".to_owned() } else { format!("{count} texts were") }
}

fn shown(result: &DeploymentResult, room: &mut usize) -> Shown {
    let plan = result.plan.as_ref().map(|path| plan(path, room));
    let says_the_same = plan.is_some() && result.outcome.is_success();
    let output = (!says_the_same && !result.output.is_empty()).then(|| {
        let cleaned = text::block(&result.output);
        let start = boundary_after(&cleaned, cleaned.len().saturating_sub(OUTPUT));
        let cut = (start > 0).then_some((cleaned.len() - start, cleaned.len() as u64));
        fitted(&cleaned[start..], cut, room)
    });
    Shown { plan, output }
}

fn plan(path: &Utf8Path, room: &mut usize) -> Shape {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        // A little more, so that what is cut ends with a whole line.
        file.take(PLAN as u64 + 1).read_to_end(&mut bytes)?;
        Ok(length)
    });
    let length = match read {
        Ok(length) => length,
        Err(error) => return Shape::Unreadable { path: path.to_owned(), why: error.to_string() },
    };
    if bytes.len() <= PLAN {
        return fitted(&text::block(&String::from_utf8_lossy(&bytes)), None, room);
    }
    let whole_lines = bytes[..PLAN].iter().rposition(|byte| *byte == b'\n').unwrap_or(PLAN);
    bytes.truncate(whole_lines);
    fitted(&text::block(&String::from_utf8_lossy(&bytes)), Some((bytes.len(), length)), room)
}

/// The text if there is room for it, which it then takes.
fn fitted(text: &str, cut: Option<(usize, u64)>, room: &mut usize) -> Shape {
    let markup = coloured(text.trim_matches('\n'));
    match room.checked_sub(markup.0.len()) {
        Some(left) => {
            *room = left;
            Shape::Text { markup, cut }
        }
        None => Shape::NoRoom { bytes: cut.map_or(text.len() as u64, |(_, all)| all) },
    }
}

/// The first place from `at` on at which a line begins, or a character where there is no further line.
fn boundary_after(text: &str, at: usize) -> usize {
    if at == 0 {
        return 0;
    }
    let at = (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[at..].find('\n').map_or(at, |line| at + line + 1)
}

/// The text with the colours of a diff. Lines of one colour share an element: a plan has thousands of them.
fn coloured(text: &str) -> Markup {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut open = None;
    for (at, line) in text.split('\n').enumerate() {
        let class = class_of(line);
        if at > 0 {
            out.push('\n');
        }
        if class != open {
            out.push_str(if open.is_some() { "</span>" } else { "" });
            if let Some(class) = class {
                let _ = write!(out, "<span class=\"{class}\">");
            }
            open = class;
        }
        let _ = Escaper::new(&mut out).write_str(line);
    }
    out.push_str(if open.is_some() { "</span>" } else { "" });
    PreEscaped(out)
}

/// The class of a line by Terraform's sign.
fn class_of(line: &str) -> Option<&'static str> {
    let content = line.trim_start();
    let signs = [
        ("-/+ ", "l-replace"),
        ("+/- ", "l-replace"),
        ("+ ", "l-add"),
        ("- ", "l-destroy"),
        ("~ ", "l-change"),
        ("# ", "l-about"),
        ("Plan: ", "l-total"),
        ("Error: ", "l-error"),
        ("│ Error: ", "l-error"),
    ];
    signs.into_iter().find(|(sign, _)| content.starts_with(sign)).map(|(_, class)| class)
}

impl Shape {
    /// The text, or what is said in its place; `whole` names the file that has all of it.
    pub(super) fn render(&self, whole: Option<&Utf8Path>) -> Markup {
        let place = || html! { @if let Some(path) = whole { ": " code { (text::line(path.as_str())) } } @else { "" } };
        html! {
            @match self {
                Self::Text { markup, cut } => {
                    @if let Some((shown, all)) = cut {
                        p.cut { (size(*shown as u64)) " of " (size(*all)) " are shown. The whole" (place()) }
                    }
                    pre tabindex="0" { (markup) }
                }
                Self::NoRoom { bytes } => p.cut {
                    "Left out (" (size(*bytes)) "): this page has no more room. The whole" (place())
                },
                Self::Unreadable { path, why } => p.cut { code { (text::line(path.as_str())) } " could not be read: " (why) },
            }
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1024 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::Outcome;
    use crate::report::samples;

    #[test]
    fn lines_of_one_colour_share_an_element() {
        let plan = "  # a will be created\n  + resource \"a\" {\n      + id = \"<b>\"\n    }\n-/+ b\n  ~ c\n  - d";
        assert_eq!(
            coloured(plan).0,
            "<span class=\"l-about\">  # a will be created\n</span><span class=\"l-add\">  + resource &quot;a&quot; \
             {\n      + id = &quot;&lt;b&gt;&quot;\n</span>    }\n<span class=\"l-replace\">-/+ b\n</span>\
             <span class=\"l-change\">  ~ c\n</span><span class=\"l-destroy\">  - d</span>"
        );
    }

    #[test]
    fn a_big_plan_is_cut_at_a_line_and_an_output_at_its_beginning() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("plan.txt");
        let line = format!("  + {}\n", "ä".repeat(60));
        fs::write(&path, line.repeat(2_000)).unwrap();
        let mut result = (*samples::failed()).clone();
        result.plan = Some(path.clone());
        result.output = format!("{}last", "line\n".repeat(20_000));
        let shown = shown(&result, &mut ALL.clone());
        let Some(Shape::Text { markup, cut: Some((bytes, all)) }) = &shown.plan else { panic!("{shown:?}") };
        assert_eq!((bytes % line.len(), *all), (line.len() - 1, 2_000 * line.len() as u64));
        assert!(!markup.0.contains('\u{fffd}') && *bytes > PLAN - 2 * line.len());
        let said = shown.plan.as_ref().unwrap().render(Some(&path)).0;
        assert!(said.contains("63 KiB of 244 KiB are shown") && said.contains(path.as_str()));
        let Some(Shape::Text { markup, cut: Some(_) }) = &shown.output else { panic!() };
        assert!(markup.0.starts_with("line\n") && markup.0.ends_with("last") && markup.0.len() <= OUTPUT);
    }

    #[test]
    fn what_finds_no_room_is_said() {
        let mut failed = (*samples::failed()).clone();
        failed.output = "x".repeat(100);
        let mut other = (*samples::succeeded()).clone();
        other.output = "y".repeat(100);
        other.log = Some("out/log".into());
        let texts = Texts::within(150, &[&failed, &other]);
        assert!(matches!(texts.of(0).output, Some(Shape::Text { .. })));
        let left_out = texts.of(1).output.as_ref().unwrap();
        assert!(matches!(left_out, Shape::NoRoom { bytes: 100 }));
        assert!(left_out.render(Some(Utf8Path::new("out/log"))).0.contains("<code>out/log</code>"));
        assert!(texts.notices()[0].starts_with("1 text was left out"), "{:?}", texts.notices());

        other.plan = Some("none/plan.txt".into());
        other.outcome = Outcome::NoChanges;
        let shown = shown(&other, &mut 1000);
        assert!(shown.output.is_none(), "the plan would say the same");
        let said = shown.plan.unwrap().render(None).0;
        assert!(said.contains("none/plan.txt") && said.contains("could not be read"), "{said}");
    }
}

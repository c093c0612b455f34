//! The blocks of Markdown files.

/// The fenced blocks of a language in a document, each with the line at which it begins.
pub fn fenced(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    // Whether a block is open, and what it holds where it is one of that language.
    let mut open: Option<Option<(usize, String)>> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim().strip_prefix("```")) {
            (None, Some(named)) => open = Some((named == language).then(|| (number + 1, String::new()))),
            (Some(block), Some(_)) => {
                blocks.extend(block.take());
                open = None;
            }
            (Some(Some((_, block))), None) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "a block that does not end");
    blocks
}

//! The display on a terminal: what runs, with a total below; what is finished scrolls away above.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use jiff::Timestamp;

use super::board::{Board, Running, ending};
use super::output::Output;
use super::text::{self, Paint, elapsed};
use crate::event::{EventSink, RunEvent};

/// How often a second the display is drawn at most.
const HERTZ: u8 = 10;

/// Columns and rows of the terminal, asked each time, since windows are resized.
pub type TerminalSize = Box<dyn Fn() -> (u16, u16) + Send + Sync>;

/// The size of the terminal at standard error; 80 by 24 where it is none.
#[must_use]
pub fn terminal_size() -> TerminalSize {
    Box::new(|| match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    })
}

/// Shows a line per running deployment (what it is at, for how long) and a total, and prints above them how each
/// deployment ended.
///
/// One bar of several lines rather than a bar each: it is drawn at once, and never taller than the terminal.
pub struct TerminalProgress {
    board: Board,
    bar: ProgressBar,
    size: Arc<TerminalSize>,
    paint: Paint,
}

impl TerminalProgress {
    /// Draws on `output`, which must be a terminal of this size, with colours or without.
    #[must_use]
    pub fn new(output: Output, size: TerminalSize, colours: bool) -> Self {
        Self::with_target(output, size, colours, |screen| ProgressDrawTarget::term_like_with_hz(screen, HERTZ))
    }

    fn with_target(
        output: Output,
        size: TerminalSize,
        colours: bool,
        target: impl FnOnce(Box<dyn TermLike>) -> ProgressDrawTarget,
    ) -> Self {
        let size = Arc::new(size);
        let screen = Screen { output: Mutex::new(output), size: Arc::clone(&size) };
        let bar = ProgressBar::with_draw_target(None, target(Box::new(screen)));
        let style = ProgressStyle::with_template("{msg}").expect("a template of one field is valid");
        Self { board: Board::default(), bar: bar.with_style(style), size, paint: Paint(colours) }
    }

    fn draw(&self, at: Timestamp) {
        let (columns, rows) = (self.size)();
        self.bar.set_message(render(&self.board, at, columns.into(), rows.into()).join("\n"));
    }

    /// What is printed above the display for an event.
    fn scrolled(&self, event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::Started { action, total, workers, terraform, .. } => {
                let deployments = text::deployments(*total);
                Some(format!("{action} of {deployments}, {workers} at a time, {}", text::line(terraform)))
            }
            RunEvent::Notice { deployment, text } => {
                let place = deployment.as_deref().map(|name| format!("{}: ", text::line(name))).unwrap_or_default();
                Some(format!("{place}{}", text::line(text)))
            }
            RunEvent::DeploymentFinished { result } => {
                let ending = self.paint.outcome(result.outcome, &ending(result));
                Some(format!("{}: {ending}", text::line(&result.deployment.name)))
            }
            RunEvent::Cancelling { text, .. } => Some(self.paint.bold(&text::line(text))),
            _ => None,
        }
    }
}

impl EventSink for TerminalProgress {
    fn event(&mut self, at: Timestamp, event: &RunEvent) {
        self.board.take(at, event);
        if let RunEvent::Finished { .. } = event {
            self.bar.finish_and_clear();
            return;
        }
        self.draw(at);
        if let Some(line) = self.scrolled(event) {
            self.bar.println(line);
        }
    }

    fn tick(&mut self, at: Timestamp) {
        if !self.bar.is_finished() {
            self.draw(at);
        }
    }
}

impl fmt::Debug for TerminalProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalProgress").field("board", &self.board).finish_non_exhaustive()
    }
}

/// The lines of the display, none wider than `columns`, not more than fit into `rows`.
fn render(board: &Board, at: Timestamp, columns: usize, rows: usize) -> Vec<String> {
    // One column is kept free, since some terminals wrap when the last one is written; one row for the cursor, one
    // for the total.
    let columns = columns.saturating_sub(1);
    let room = rows.saturating_sub(2).max(1);
    let shown = if board.running.len() > room { room - 1 } else { board.running.len() };
    let mut lines: Vec<String> = board.running.iter().take(shown).map(|one| running(one, at, columns)).collect();
    let hidden = board.running.len() - shown;
    if hidden > 0 {
        lines.push(text::shorten(&format!("and {hidden} more"), columns).into_owned());
    }
    lines.push(text::shorten(&total(board, at), columns).into_owned());
    lines
}

/// `name  what it is at  elapsed`: the name gets what it needs, at most half of the line.
fn running(one: &Running, at: Timestamp, columns: usize) -> String {
    let time = elapsed(one.since, at);
    let room = columns.saturating_sub(time.chars().count() + 4);
    let doing = one.doing();
    let name = text::shorten(&one.name, (room / 2).max(room.saturating_sub(doing.chars().count())));
    let doing = text::shorten(&doing, room.saturating_sub(name.chars().count()));
    text::shorten(&format!("{name}  {doing}  {time}"), columns).into_owned()
}

fn total(board: &Board, at: Timestamp) -> String {
    let Board { action, finished, total, unsuccessful, .. } = board;
    let time = board.started.map(|started| elapsed(started, at)).unwrap_or_default();
    let unsuccessful = if *unsuccessful > 0 { format!(", {unsuccessful} not successful") } else { String::new() };
    format!("{action}: {finished} of {total} finished{unsuccessful}, {} running, {time}", board.running.len())
}

/// A terminal behind a writer. It reports no errors: an output that was closed stays silent.
struct Screen {
    output: Mutex<Output>,
    size: Arc<TerminalSize>,
}

impl Screen {
    fn put(&self, text: &str) {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).write(text);
    }

    fn cursor(&self, by: usize, direction: char) {
        if by > 0 {
            self.put(&format!("\u{1b}[{by}{direction}"));
        }
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        (self.size)().0
    }

    fn height(&self) -> u16 {
        (self.size)().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.put(&format!("{s}\n"));
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.put(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{self, Capture};

    fn board_at(second: i64) -> Board {
        let mut board = Board::default();
        for (at, event) in samples::events().into_iter().take_while(|(at, _)| *at <= second) {
            board.take(samples::at(at), &event);
        }
        board
    }

    #[test]
    fn each_running_deployment_has_a_line() {
        insta::assert_snapshot!(render(&board_at(4), samples::at(75), 100, 24).join("\n"), @r"
        s3/acme-prd/us-east-1/alpha  apply: create terraform_data.part[0]  1m 14s
        s3/acme-prd/us-east-1/beta-with-a-longer-name  backup  1m 13s
        apply: 0 of 6 finished, 2 running, 1m 15s
        ");
        insta::assert_snapshot!(render(&board_at(4), samples::at(75), 50, 24).join("\n"), @r"
        s3/acme-p…t-1/alpha  apply: cre…a.part[0]  1m 14s
        s3/acme-prd/us-e…th-a-longer-name  backup  1m 13s
        apply: 0 of 6 finished, 2 running, 1m 15s
        ");
    }

    #[test]
    fn the_display_fits_its_terminal() {
        let mut board = board_at(4);
        for n in 0..40 {
            let started = RunEvent::DeploymentStarted { deployment: format!("s3/account/us-east-1/project-{n}") };
            board.take(samples::at(5), &started);
        }
        for (columns, rows) in [(80, 24), (20, 5), (5, 2), (0, 0)] {
            let lines = render(&board, samples::at(60), columns, rows);
            assert!(lines.len() <= rows.saturating_sub(1).max(2), "{rows}: {lines:#?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}: {lines:#?}");
        }
        assert!(render(&board, samples::at(60), 80, 24).contains(&"and 21 more".to_owned()));
    }

    #[test]
    fn what_is_finished_scrolls_above_and_the_display_goes() {
        let capture = Capture::default();
        let size: TerminalSize = Box::new(|| (100, 24));
        let mut progress = TerminalProgress::with_target(capture.output(), size, false, ProgressDrawTarget::term_like);
        for (second, event) in samples::events() {
            progress.event(samples::at(second), &event);
            progress.tick(samples::at(second));
        }
        insta::assert_snapshot!(screen(&capture.text()), @r"
        apply of 6 deployments, 2 at a time, Terraform 1.11.4
        TF_WORKSPACE is not passed on
        s3/acme-prd/us-east-1/alpha: succeeded in 12s (+12 ~1 -0)
        s3/acme-prd/us-east-1/beta-with-a-longer-name: the lock is held, waiting
        a second signal ends Terraform at once
        s3/acme-prd/us-east-1/beta-with-a-longer-name: failed after 1m 03s: terraform apply failed (exit cod
        e 1): Error: creating S3 Bucket (logs): BucketAlreadyExists: the request was refused
        s3/acme-prd/us-east-1/delta: skipped: s3/acme-prd/us-east-1/beta-with-a-longer-name failed, and --on
        -error is stop
        ");
    }

    /// What a terminal of 100 columns shows after these bytes: as much of one as the display uses.
    fn screen(bytes: &str) -> String {
        const WIDTH: usize = 100;
        let (mut rows, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
        let mut rest = bytes.chars();
        while let Some(c) = rest.next() {
            match c {
                '\n' => (row, column) = (row + 1, 0),
                '\r' => column = 0,
                '\u{1b}' => {
                    let code: String = rest.by_ref().skip(1).take_while_inclusive_letter();
                    let by = code[..code.len() - 1].parse().unwrap_or(1);
                    match code.chars().next_back() {
                        Some('A') => row -= by,
                        Some('B') => row += by,
                        Some('K') => rows[row].clear(),
                        other => panic!("unknown sequence {other:?}"),
                    }
                }
                c => {
                    // A terminal goes to the next row only when something is to be written there.
                    if column == WIDTH {
                        (row, column) = (row + 1, 0);
                        rows.resize(rows.len().max(row + 1), Vec::new());
                    }
                    let line: &mut Vec<char> = &mut rows[row];
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = c;
                    column += 1;
                }
            }
            rows.resize(rows.len().max(row + 1), Vec::new());
        }
        let rows: Vec<String> = rows.into_iter().map(|row| row.into_iter().collect::<String>()).collect();
        rows.iter().map(|row| row.trim_end()).filter(|row| !row.is_empty()).collect::<Vec<_>>().join("\n")
    }

    trait Sequence {
        fn take_while_inclusive_letter(self) -> String;
    }

    impl<I: Iterator<Item = char>> Sequence for I {
        fn take_while_inclusive_letter(self) -> String {
            let mut code = String::new();
            for c in self {
                code.push(c);
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
            code
        }
    }
}

//! `tfleet credential-process`: what the AWS SDKs in child processes start to get credentials.

use camino::Utf8Path;

use super::Exit;
use super::terminal::Terminal;
use crate::lease::credential_process_client;

/// Prints the document, or one line on what is wrong.
pub fn run(socket: &Utf8Path, token_file: &Utf8Path, terminal: &mut Terminal) -> Exit {
    match credential_process_client(socket, token_file) {
        Ok(document) => {
            terminal.out(&format!("{document}\n"));
            Exit::Success
        }
        Err(error) => {
            terminal.err(&format!("tfleet: {error}\n"));
            Exit::Failed
        }
    }
}

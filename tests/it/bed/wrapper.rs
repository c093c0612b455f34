//! A `terraform` that writes down how it was called and then is the real one, or does something else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Fleet, tools};

/// A shell script that stands in for Terraform.
pub struct TerraformWrapper {
    script: PathBuf,
    calls: PathBuf,
}

/// One call of it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The arguments, without the program.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub dir: String,
}

impl Call {
    /// The verb: the first argument that is no option.
    pub fn verb(&self) -> &str {
        self.args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str)
    }
}

impl TerraformWrapper {
    /// Dumps each call, then runs the real Terraform.
    pub fn new(fleet: &Fleet) -> Self {
        Self::with_step(fleet, "")
    }

    /// Dumps each call, then runs `step` (shell; `$verb` is Terraform's verb), then the real Terraform unless the step
    /// has ended the script.
    pub fn with_step(fleet: &Fleet, step: &str) -> Self {
        let folder = fleet.dir("wrapper");
        let calls = folder.join("calls");
        fs::create_dir_all(&calls).unwrap();
        let script = folder.join("terraform");
        // printf and env are told apart by the NUL bytes that no argument and no variable can hold.
        let text = format!(
            "#!/bin/sh\n\
             call='{calls}'/$$\n\
             {{ pwd; printf '%s\\0' \"$#\" \"$@\"; env -0; }} > \"$call.part\"\n\
             mv \"$call.part\" \"$call\"\n\
             verb=\n\
             for arg in \"$@\"; do case \"$arg\" in -*) ;; *) verb=$arg; break ;; esac; done\n\
             {step}\n\
             exec '{real}' \"$@\"\n",
            calls = calls.display(),
            real = tools::terraform().display(),
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { script, calls }
    }

    /// The script.
    pub fn path(&self) -> &Path {
        &self.script
    }

    /// Every call so far, in no particular order.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for entry in fs::read_dir(&self.calls).unwrap().flatten() {
            if entry.path().extension().is_some() {
                continue;
            }
            calls.push(parse(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap())));
        }
        calls
    }

    /// The calls with this verb.
    pub fn calls_of(&self, verb: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.verb() == verb).collect()
    }

    /// Everything that was dumped, as bytes, to search for secrets.
    pub fn dumped(&self) -> Vec<u8> {
        fs::read_dir(&self.calls).unwrap().flatten().flat_map(|entry| fs::read(entry.path()).unwrap()).collect()
    }
}

fn parse(text: &str) -> Call {
    let (dir, rest) = text.split_once('\n').unwrap();
    let mut fields = rest.split('\0');
    let count: usize = fields.next().unwrap().parse().unwrap();
    let args = fields.by_ref().take(count).map(str::to_owned).collect();
    let env = fields
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Call { args, env, dir: dir.to_owned() }
}

//! What real Terraform makes of locks that were taken here, and of states that were written here. Needs `terraform` on PATH
//! and a moto server.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use camino::Utf8Path;

use super::testing::S3Server;
use super::{LockTable, Precondition, ReadStore, S3Store, States, TerraformLockError, TerraformLocks};
use crate::model::BackendKey;
use crate::tfstate::{StateFile, with_serial};

const KEY: &str = "s3/a/terraform.tfstate";

/// A module with a state in S3, locked with `locking`.
struct Module {
    dir: tempfile::TempDir,
    endpoint: String,
}

impl Module {
    fn new(server: &S3Server, locking: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let main = format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"states\"\n    key = \"{KEY}\"\n    region = \"us-east-1\"\n    \
             use_path_style = true\n    skip_credentials_validation = true\n    skip_requesting_account_id = true\n    \
             skip_metadata_api_check = true\n    {locking}\n  }}\n}}\n\
             variable \"input\" {{}}\nresource \"terraform_data\" \"a\" {{\n  input = var.input\n}}\n"
        );
        std::fs::write(dir.path().join("main.tf"), main).unwrap();
        let module = Self { dir, endpoint: server.endpoint.clone() };
        assert_eq!(module.terraform(&["init", "-input=false", "-reconfigure"]).0, Some(0));
        module
    }

    /// Runs Terraform. Returns its exit code and all that it printed, in one line.
    fn terraform(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("terraform");
        command.args(args).arg("-no-color").current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TF_") || name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("CHECKPOINT_DISABLE", "1").env("AWS_ENDPOINT_URL", &self.endpoint);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "testtest");
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let printed = [stdout, stderr].concat();
        let words: Vec<String> = String::from_utf8(printed).unwrap().split_whitespace().map(str::to_owned).collect();
        (status.code(), words.join(" "))
    }

    fn apply(&self, input: &str) -> (Option<i32>, String) {
        self.terraform(&["apply", "-auto-approve", "-input=false", &format!("-var=input={input}")])
    }
}

fn key() -> BackendKey {
    BackendKey::new(KEY).unwrap()
}

async fn serial(store: &S3Store) -> u64 {
    StateFile::parse(&store.get(KEY).await.unwrap().unwrap().bytes).unwrap().serial
}

#[tokio::test]
async fn a_plain_terraform_is_kept_out_and_told_by_whom() {
    let server = S3Server::start().await;
    let store = Arc::new(server.store("states").await);
    let table = server.table("locks", "states").await;
    for (locking, file, table) in [
        ("use_lockfile = true", true, None),
        ("dynamodb_table = \"locks\"", false, Some(table.clone())),
        ("use_lockfile = true\n dynamodb_table = \"locks\"", true, Some(table)),
    ] {
        let module = Module::new(&server, locking);
        let locks = TerraformLocks::new(Arc::clone(&store) as _, file, table);
        let held = locks.take(&key(), "tfleet state restore", "me@here").await.unwrap();
        let (code, printed) = module.apply("one");
        assert_eq!(code, Some(1), "{printed}");
        for words in [
            &format!("ID: {}", held.id()),
            &format!("Path: states/{KEY}"),
            "Operation: tfleet state restore",
            "Who: me@here",
            "Info: taken by tfleet",
        ] {
            assert!(printed.contains(words), "{words}: {printed}");
        }
        assert!(held.confirm().await.unwrap());
        held.release().await.unwrap();
        let (code, printed) = module.apply("one");
        assert_eq!(code, Some(0), "{printed}");
        assert!(locks.find(&key()).await.unwrap().is_empty(), "{locking}");
    }
}

#[tokio::test]
async fn a_lock_of_a_living_terraform_is_read_and_respected() {
    let server = S3Server::start().await;
    let store = Arc::new(server.store("states").await);
    let table = server.table("locks", "states").await;
    let locking = "use_lockfile = true\n dynamodb_table = \"locks\"";
    let module = Module::new(&server, locking);
    let locks = TerraformLocks::new(Arc::clone(&store) as _, true, Some(table));
    let folder = Utf8Path::from_path(module.dir.path()).unwrap();
    let (reached, go) = (folder.join("reached"), folder.join("go"));
    for fifo in [&reached, &go] {
        assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    }
    let step = format!(
        "resource \"terraform_data\" \"b\" {{\n  provisioner \"local-exec\" {{\n    command = \"echo > {reached}; cat \
         {go}\"\n  }}\n}}\n"
    );
    std::fs::write(folder.join("step.tf"), step).unwrap();
    let applying = std::thread::spawn(move || module.apply("one"));
    tokio::task::spawn_blocking(move || std::fs::read(reached).unwrap()).await.unwrap();
    let found = locks.find(&key()).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].id == found[1].id && found.iter().all(|lock| lock.operation == "OperationTypeApply"));
    assert_eq!(locks.id(&key()).await.unwrap().as_ref(), Some(&found[0].id));
    let error = locks.take(&key(), "x", "me@here").await.err().unwrap();
    assert!(matches!(error, TerraformLockError::Held { lock, .. } if lock.id == found[0].id));
    std::fs::write(go, "").unwrap();
    let (code, printed) = applying.join().unwrap();
    assert_eq!(code, Some(0), "{printed}");
    assert!(locks.find(&key()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_state_that_was_written_here_is_read_by_terraform() {
    let server = S3Server::start().await;
    let store = Arc::new(server.store("states").await);
    let table = server.table("locks", "states").await;
    let module = Module::new(&server, "dynamodb_table = \"locks\"");
    let states = States::new(Arc::clone(&store) as _, Some(table.clone()));
    assert_eq!(module.apply("one").0, Some(0));
    let (first, first_serial) = (store.get(KEY).await.unwrap().unwrap(), serial(&store).await);
    assert_eq!(module.apply("two").0, Some(0));
    let now = store.get(KEY).await.unwrap().unwrap();

    // The older state under a higher serial, as a restore writes it.
    let restored = with_serial(&first.bytes, serial(&store).await + 1).unwrap();
    states.write(&key(), restored, Precondition::Matches(now.etag)).await.unwrap();
    let plan =
        |input: &str| module.terraform(&["plan", "-input=false", "-detailed-exitcode", &format!("-var=input={input}")]);
    let (code, printed) = plan("one");
    assert_eq!(code, Some(0), "{printed}");
    assert!(serial(&store).await > first_serial + 1);

    removed_is_gone(&module, &states, &store, &table).await;
}

/// A state that was removed here is none to Terraform: it can begin anew.
async fn removed_is_gone(module: &Module, states: &States, store: &S3Store, table: &LockTable) {
    let etag = store.get(KEY).await.unwrap().unwrap().etag;
    states.remove(&key(), &etag).await.unwrap();
    assert_eq!(table.digest(&key()).await.unwrap(), None);
    assert_eq!(
        module.terraform(&["state", "list"]).1,
        "No state file was found! State management commands require a state \
         file. Run this command in a directory where Terraform has been run or use the -state flag to point the command \
         to a specific state location."
    );
    assert_eq!(module.apply("one").0, Some(0));
    assert!(!states.repair_digest(&key()).await.unwrap());
}

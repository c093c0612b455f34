//! The credential server and its client.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::lease::testing::{FakeSts, Moto, config, refusal, session, temp, without_aws};
use crate::lease::{
    BACKEND_PROFILE, ClientError, CredentialServer, LeaseKey, Leases, RoleSettings, ServerError, ServerOptions,
    TARGET_PROFILE, credential_process_client,
};
use crate::model::{AccountId, Region};

const NOWHERE: &str = "http://127.0.0.1:1";

fn server(dir: &Utf8Path) -> CredentialServer {
    CredentialServer::start(dir, Leases::new(&config(NOWHERE)), ServerOptions::default()).unwrap()
}

async fn ask(socket: &Utf8Path, token_file: &Utf8Path) -> Result<String, ClientError> {
    let (socket, token_file) = (socket.to_owned(), token_file.to_owned());
    tokio::task::spawn_blocking(move || credential_process_client(&socket, &token_file)).await.unwrap()
}

/// What the server says to `bytes`, without the client's manners.
async fn say(socket: &Utf8Path, bytes: Vec<u8>) -> String {
    let socket = socket.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        // The server may have closed before the end of a request that is too long.
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_grant_gets_its_credentials() {
    let (_temp, dir) = temp();
    let server = server(&dir);
    let grant = server.register(LeaseKey::Central).unwrap();
    let document: Value = serde_json::from_str(&ask(server.socket(), grant.token_file()).await.unwrap()).unwrap();
    assert_eq!(document["Version"], 1);
    assert_eq!(document["AccessKeyId"], "AKIDCENTRAL");
    assert_eq!(document["SecretAccessKey"], "central-secret");
    assert_eq!(document.get("Expiration"), None);
    assert_eq!(grant.fetches(), 1);
    assert!(!format!("{server:?} {grant:?}").contains("secret"));
}

#[tokio::test]
async fn children_may_be_told_an_earlier_end() {
    let (_temp, dir) = temp();
    let options = ServerOptions { max_served: Some(Duration::from_secs(2)), ..ServerOptions::default() };
    let server = CredentialServer::start(&dir, Leases::new(&config(NOWHERE)), options).unwrap();
    let grant = server.register(LeaseKey::Central).unwrap();
    let document: Value = serde_json::from_str(&ask(server.socket(), grant.token_file()).await.unwrap()).unwrap();
    let expires: jiff::Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
    assert!(expires <= jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2));
}

#[tokio::test]
async fn only_the_owner_may_enter_and_read() {
    let (_temp, dir) = temp();
    let dir = dir.join("run");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = server(&dir);
    let grant = server.register(LeaseKey::Central).unwrap();
    let region = Region::new("us-east-1").unwrap();
    let config = server.write_config(&dir.join("aws"), &[(TARGET_PROFILE, &grant, &region)]).unwrap();
    let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(server.socket()), 0o600);
    assert_eq!(mode(grant.token_file()), 0o600);
    assert_eq!((mode(&config.config), mode(&config.credentials)), (0o600, 0o600));
    assert_eq!(std::fs::read(&config.credentials).unwrap(), b"");
}

#[tokio::test]
async fn a_token_stands_for_one_lease_while_its_grant_lives() {
    let (_temp, dir) = temp();
    let server = server(&dir);
    let (one, two) = (server.register(LeaseKey::Central).unwrap(), server.register(LeaseKey::Central).unwrap());
    let token = std::fs::read_to_string(one.token_file()).unwrap();
    let (id, secret) = token.trim().split_once('.').unwrap();
    assert_eq!(secret.len(), 64);
    let other = std::fs::read_to_string(two.token_file()).unwrap();
    let other_id = other.split_once('.').unwrap().0;
    for bad in [
        String::new(),
        secret.to_owned(),
        format!("{id}."),
        format!("{other_id}.{secret}"),
        format!("{id}.{}", "0".repeat(64)),
        format!("999.{secret}"),
        format!("{id}.{secret}x"),
    ] {
        let answer = say(server.socket(), format!("{bad}\n").into_bytes()).await;
        assert!(answer.contains("does not know this token"), "{bad}: {answer}");
    }
    let file = one.token_file().to_owned();
    drop(one);
    assert!(!file.exists());
    std::fs::write(&file, &token).unwrap();
    let error = ask(server.socket(), &file).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    assert!(ask(server.socket(), two.token_file()).await.is_ok());
}

#[tokio::test]
async fn requests_without_form_get_no_credentials() {
    let (_temp, dir) = temp();
    let server = server(&dir);
    let grant = server.register(LeaseKey::Central).unwrap();
    let mut long = std::fs::read(grant.token_file()).unwrap();
    long.splice(0..0, std::iter::repeat_n(b' ', 100_000));
    for bad in [long, b"\xff\xfe\n".to_vec(), vec![b'x'; 256], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let answer = say(server.socket(), bad).await;
        assert!(!answer.contains("AccessKeyId"), "{answer}");
    }
    assert_eq!(grant.fetches(), 0);
    assert!(ask(server.socket(), grant.token_file()).await.is_ok());
}

#[tokio::test]
async fn the_silent_do_not_hold_up_the_others() {
    let (_temp, dir) = temp();
    let server = server(&dir);
    let grant = server.register(LeaseKey::Central).unwrap();
    let silent: Vec<_> = (0..50).map(|_| UnixStream::connect(server.socket()).unwrap()).collect();
    let all = futures_util::future::join_all((0..50).map(|_| ask(server.socket(), grant.token_file()))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(grant.fetches(), 50);
    drop(silent);
}

#[tokio::test]
async fn what_cannot_be_had_is_said_on_one_line() {
    let sts = FakeSts::start(|_, _| refusal(403, "AccessDenied", "User is\nnot authorized")).await;
    let (_temp, dir) = temp();
    let server = CredentialServer::start(&dir, Leases::new(&config(&sts.url)), ServerOptions::default()).unwrap();
    let grant = server.register(RoleSettings::default().lease(&AccountId::new("222222222222").unwrap())).unwrap();
    let error = ask(server.socket(), grant.token_file()).await.unwrap_err().to_string();
    assert!(
        error.starts_with(
            "tfleet has no credentials for the role OrganizationAccountAccessRole in account 222222222222"
        )
    );
    assert!(error.contains("AccessDenied") && error.contains("trust policy") && !error.contains('\n'), "{error}");
    assert_eq!(grant.fetches(), 0);
}

#[tokio::test]
async fn after_the_end_of_tfleet_the_client_says_so() {
    let (_temp, dir) = temp();
    let server = server(&dir);
    let socket = server.socket().to_owned();
    let token = dir.join("kept");
    std::fs::write(&token, "1.x\n").unwrap();
    drop(server);
    assert!(!socket.exists());
    let error = ask(&socket, &token).await.unwrap_err();
    assert!(matches!(error, ClientError::Gone { .. }), "{error}");
    assert!(matches!(ask(&socket, &dir.join("none")).await, Err(ClientError::Token { .. })));
    // Killed, not ended: the socket is still there and nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(ask(&socket, &token).await, Err(ClientError::Gone { .. })));
}

#[tokio::test]
async fn a_long_folder_gets_its_socket_elsewhere() {
    let (_temp, dir) = temp();
    let deep = dir.join("x".repeat(120));
    let server = server(&deep);
    assert!(server.socket().as_str().len() <= 103 && !server.socket().starts_with(&deep), "{}", server.socket());
    let folder = server.socket().parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    let grant = server.register(LeaseKey::Central).unwrap();
    assert!(ask(server.socket(), grant.token_file()).await.is_ok());
    drop(server);
    assert!(!folder.exists());
}

#[tokio::test]
async fn two_servers_in_one_folder_are_an_error() {
    let (_temp, dir) = temp();
    let _first = server(&dir);
    let second = CredentialServer::start(&dir, Leases::new(&config(NOWHERE)), ServerOptions::default());
    assert!(matches!(second, Err(ServerError::Path { .. })));
}

#[tokio::test]
async fn the_config_file_is_what_every_sdk_reads() {
    let (_temp, dir) = temp();
    let program = Some(Utf8PathBuf::from("/opt/my tools/tfleet"));
    let options = ServerOptions { program, ..ServerOptions::default() };
    let server = CredentialServer::start(&dir, Leases::new(&config(NOWHERE)), options).unwrap();
    let (backend, target) = (server.register(LeaseKey::Central).unwrap(), server.register(LeaseKey::Central).unwrap());
    let (east, west) = (Region::new("us-east-1").unwrap(), Region::new("eu-west-1").unwrap());
    let grants = [(BACKEND_PROFILE, &backend, &east), (TARGET_PROFILE, &target, &west)];
    let written = server.write_config(&dir.join("aws.conf"), &grants).unwrap();
    let text = std::fs::read_to_string(&written.config).unwrap().replace(dir.as_str(), "/run/x");
    insta::assert_snapshot!(text, @r#"
    # Written by tfleet for one run. The credentials come from the running tfleet.

    [profile tfleet-backend]
    region = us-east-1
    credential_process = /"opt/my tools/"tfleet credential-process --socket /run/x/credentials.sock --token-file /run/x/token-1

    [profile tfleet-target]
    region = eu-west-1
    credential_process = /"opt/my tools/"tfleet credential-process --socket /run/x/credentials.sock --token-file /run/x/token-2
    "#);
    let environment = written.environment(TARGET_PROFILE);
    assert_eq!(environment[0], ("AWS_CONFIG_FILE", dir.join("aws.conf").into_string()));
}

#[tokio::test]
async fn a_program_whose_path_cannot_be_quoted_is_linked() {
    let (_temp, dir) = temp();
    let program = Some(Utf8PathBuf::from("/opt/it's $5/tfleet"));
    let options = ServerOptions { program, ..ServerOptions::default() };
    let server = CredentialServer::start(&dir, Leases::new(&config(NOWHERE)), options).unwrap();
    let grant = server.register(LeaseKey::Central).unwrap();
    let region = Region::new("us-east-1").unwrap();
    let written = server.write_config(&dir.join("aws"), &[(TARGET_PROFILE, &grant, &region)]).unwrap();
    let text = std::fs::read_to_string(written.config).unwrap();
    assert!(text.contains(&format!("= {} credential-process", dir.join("tfleet"))), "{text}");
    assert_eq!(std::fs::read_link(dir.join("tfleet")).unwrap().to_str(), Some("/opt/it's $5/tfleet"));
}

/// What the stub below runs: the client of this crate.
#[test]
#[ignore = "the child process of the_aws_cli_acts_through_the_server"]
fn client_process() {
    let path = |name| Utf8PathBuf::from(std::env::var(name).unwrap());
    println!("\n{}", credential_process_client(&path("STUB_SOCKET"), &path("STUB_TOKEN")).unwrap());
}

/// A program that takes the arguments of `tfleet credential-process`.
fn stub(dir: &Utf8Path) -> Utf8PathBuf {
    let path = dir.join("stub");
    let name = format!("{}::client_process", module_path!().split_once("::").unwrap().1);
    let text = format!(
        "#!/bin/sh\n[ \"$1 $2 $4 $#\" = 'credential-process --socket --token-file 5' ] || exit 9\n\
         STUB_SOCKET=\"$3\" STUB_TOKEN=\"$5\" '{}' --exact '{name}' --ignored --nocapture | grep '^{{'\n",
        std::env::current_exe().unwrap().display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[tokio::test]
async fn the_aws_cli_acts_through_the_server() {
    let moto = Moto::shared();
    let (_temp, dir) = temp();
    let dir = dir.join("with a space");
    std::fs::create_dir(&dir).unwrap();
    let options = ServerOptions { program: Some(stub(&dir)), ..ServerOptions::default() };
    let server = CredentialServer::start(&dir, Leases::new(&config(&moto.url)), options).unwrap();
    let target = RoleSettings::default().lease(&AccountId::new("222222222222").unwrap());
    let (backend, target) = (server.register(LeaseKey::Central).unwrap(), server.register(target).unwrap());
    let region = Region::new("us-east-1").unwrap();
    let grants = [(BACKEND_PROFILE, &backend, &region), (TARGET_PROFILE, &target, &region)];
    let written = Arc::new(server.write_config(&dir.join("aws"), &grants).unwrap());
    for (profile, account) in [(BACKEND_PROFILE, "123456789012"), (TARGET_PROFILE, "222222222222")] {
        let (written, url) = (Arc::clone(&written), moto.url.clone());
        let output = tokio::task::spawn_blocking(move || {
            without_aws(&mut Command::new("aws"))
                .args(["sts", "get-caller-identity", "--query", "Account", "--output", "text"])
                .envs(written.environment(profile))
                .env("AWS_ENDPOINT_URL", url)
                .output()
                .expect("aws (pip install awscli) is on the PATH")
        })
        .await
        .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), account, "{output:?}");
    }
    assert!(backend.fetches() >= 1 && target.fetches() >= 1);
}

#[tokio::test]
async fn a_role_is_served_with_its_real_end() {
    let sts = FakeSts::start(|_, _| session("222222222222", "ASIACHILD", "2999-01-01T00:00:00Z")).await;
    let (_temp, dir) = temp();
    let server = CredentialServer::start(&dir, Leases::new(&config(&sts.url)), ServerOptions::default()).unwrap();
    let grant = server.register(RoleSettings::default().lease(&AccountId::new("222222222222").unwrap())).unwrap();
    let document: Value = serde_json::from_str(&ask(server.socket(), grant.token_file()).await.unwrap()).unwrap();
    assert_eq!(document["Expiration"], "2999-01-01T00:00:00Z");
    assert_eq!(document["SessionToken"], "child-token");
}

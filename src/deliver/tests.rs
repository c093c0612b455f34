use aws_sdk_secretsmanager::config::retry::{ClientRateLimiter, RetryPartition};
use aws_sdk_ssm::types::{ParameterTier, ParameterType};

use super::testing::{Between, Moto, Turn, config};
use super::*;
use crate::model::{AccountId, Region};

const VALUE: &str = "{\"key\":\"-----BEGIN KEY-----\\nMIIEow\\n\"}";

fn delivery(to: Vault, name: &str) -> Delivery {
    Delivery {
        output: "certificate_data".to_owned(),
        to,
        account: AccountId::new("123456789012").unwrap(),
        region: Region::new("eu-west-1").unwrap(),
        name: name.to_owned(),
    }
}

async fn send(address: &str, delivery: &Delivery, value: &str) -> Result<Delivered, DeliverError> {
    let limiter = ClientRateLimiter::builder().build();
    let partition = RetryPartition::custom("test").client_rate_limiter(limiter).build();
    deliver(&config(address), partition, delivery, &Secret::new(value.to_owned())).await
}

fn secrets(address: &str) -> aws_sdk_secretsmanager::Client {
    let config =
        aws_sdk_secretsmanager::config::Builder::from(&config(address)).region(aws_config::Region::new("eu-west-1"));
    aws_sdk_secretsmanager::Client::from_conf(config.build())
}

fn parameters(address: &str) -> aws_sdk_ssm::Client {
    let config = aws_sdk_ssm::config::Builder::from(&config(address)).region(aws_config::Region::new("eu-west-1"));
    aws_sdk_ssm::Client::from_conf(config.build())
}

async fn secret(address: &str, name: &str) -> Option<String> {
    secrets(address).get_secret_value().secret_id(name).send().await.unwrap().secret_string
}

/// Refuses every request in this way.
async fn refusing(status: u16, code: &'static str, message: &str) -> Between {
    let message = message.to_owned();
    Between::start("127.0.0.1:9", move |_, _| Turn::Refuse(status, code, message.clone())).await
}

/// One server for all of them: it takes longer to start than they take.
#[tokio::test]
async fn with_a_server() {
    let moto = Moto::start().await;
    let address = moto.address.as_str();
    for to in [Vault::SecretsManager, Vault::Ssm] {
        what_is_there_already_is_not_written_again(address, to).await;
        a_write_that_lost_its_answer_is_repeated(address, to).await;
    }
    a_secret_without_a_value_gets_one(address).await;
    a_secret_that_waits_for_its_deletion_is_named(address).await;
    parameters_are_encrypted_and_keep_their_key(address).await;
    a_parameter_that_is_no_secret_is_left_alone(address).await;
    long_values_go_as_far_as_the_service_takes_them(address).await;
}

async fn what_is_there_already_is_not_written_again(address: &str, to: Vault) {
    let delivery = delivery(to, "/agents/again");
    let between = Between::start(address, |_, _| Turn::Pass).await;
    let created = send(&between.address, &delivery, VALUE).await.unwrap();
    assert_eq!(created.effect, Effect::Created);
    let calls = between.calls().len();
    let again = send(&between.address, &delivery, VALUE).await.unwrap();
    assert_eq!((again.effect, &again.version), (Effect::Unchanged, &created.version));
    assert_eq!(between.calls().len(), calls + 1, "{to:?}: it is only read: {:?}", between.calls());
    let updated = send(&between.address, &delivery, "other").await.unwrap();
    assert_eq!(updated.effect, Effect::Updated);
    assert!(updated.version.is_some() && updated.version != created.version);
    // What was there once before is written like anything else.
    assert_eq!(send(address, &delivery, VALUE).await.unwrap().effect, Effect::Updated);
    assert_eq!(send(address, &delivery, VALUE).await.unwrap().effect, Effect::Unchanged);
}

async fn a_write_that_lost_its_answer_is_repeated(address: &str, to: Vault) {
    let delivery = delivery(to, "/agents/lost");
    for value in ["first", "second"] {
        let lossy = Between::start(address, |operation, nth| match operation {
            "CreateSecret" | "PutSecretValue" | "PutParameter" if nth == 0 => Turn::Lose,
            _ => Turn::Pass,
        })
        .await;
        send(&lossy.address, &delivery, value).await.unwrap();
        let writes = lossy.calls().iter().filter(|call| !call.starts_with("Get") && !call.starts_with("Desc")).count();
        assert!(writes >= 2, "{:?}", lossy.calls());
        assert_eq!(send(address, &delivery, value).await.unwrap().effect, Effect::Unchanged);
    }
}

async fn a_secret_without_a_value_gets_one(address: &str) {
    let name = "agents/made-by-somebody-else";
    secrets(address).create_secret().name(name).send().await.unwrap();
    let delivered = send(address, &delivery(Vault::SecretsManager, name), VALUE).await.unwrap();
    assert_eq!(delivered.effect, Effect::Updated);
    assert_eq!(secret(address, name).await.as_deref(), Some(VALUE));
}

async fn a_secret_that_waits_for_its_deletion_is_named(address: &str) {
    let delivery = delivery(Vault::SecretsManager, "agents/deleted");
    send(address, &delivery, VALUE).await.unwrap();
    secrets(address).delete_secret().secret_id(&delivery.name).send().await.unwrap();
    let error = send(address, &delivery, "other").await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\n{}", error.hint()), @r"
    Secrets Manager agents/deleted in account 123456789012, eu-west-1 is scheduled for deletion, and nothing can be written to it
    restore it, in that account: aws secretsmanager restore-secret --region eu-west-1 --secret-id agents/deleted; or choose another name
    ");
}

async fn parameters_are_encrypted_and_keep_their_key(address: &str) {
    let delivery = delivery(Vault::Ssm, "/agents/own-key");
    let client = parameters(address);
    let put = client.put_parameter().name(&delivery.name).value("old").r#type(ParameterType::SecureString);
    put.key_id("alias/agents").send().await.unwrap();
    send(address, &delivery, VALUE).await.unwrap();
    send(address, &self::delivery(Vault::Ssm, "plain"), VALUE).await.unwrap();
    for (name, key) in [(delivery.name.as_str(), "alias/agents"), ("plain", "alias/aws/ssm")] {
        let found = client.get_parameter().name(name).with_decryption(true).send().await.unwrap().parameter.unwrap();
        assert_eq!((found.r#type(), found.value()), (Some(&ParameterType::SecureString), Some(VALUE)));
        let history = client.get_parameter_history().name(name).send().await.unwrap();
        assert_eq!(history.parameters().last().unwrap().key_id(), Some(key), "{name}");
    }
}

async fn a_parameter_that_is_no_secret_is_left_alone(address: &str) {
    let delivery = delivery(Vault::Ssm, "/agents/plain-text");
    let client = parameters(address);
    client.put_parameter().name(&delivery.name).value("open").r#type(ParameterType::String).send().await.unwrap();
    let error = send(address, &delivery, VALUE).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\n{}", error.hint()), @r"
    Parameter Store /agents/plain-text in account 123456789012, eu-west-1 is there already with the type String, and a parameter cannot become a SecureString
    choose another name, or, if nobody needs what is there, delete it in that account: aws ssm delete-parameter --region eu-west-1 --name /agents/plain-text
    ");
    let found = client.get_parameter().name(&delivery.name).send().await.unwrap().parameter.unwrap();
    assert_eq!(found.value(), Some("open"));
}

async fn long_values_go_as_far_as_the_service_takes_them(address: &str) {
    let parameter = delivery(Vault::Ssm, "/agents/long");
    send(address, &parameter, &"x".repeat(8192)).await.unwrap();
    let described = parameters(address).describe_parameters().send().await.unwrap();
    let tier = described.parameters().iter().find(|p| p.name() == Some("/agents/long")).unwrap().tier();
    assert_ne!(tier, Some(&ParameterTier::Standard), "standard parameters end at 4 KiB");
    let error = send(address, &parameter, &"ä".repeat(4097)).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}\n{}", error.hint()), @r"
    the value for Parameter Store /agents/long in account 123456789012, eu-west-1 has 8194 bytes, and Parameter Store takes 8192 at most
    deliver it to secretsmanager, which takes 64 KiB
    ");
    let secret = delivery(Vault::SecretsManager, "agents/long");
    send(address, &secret, &"x".repeat(65_536)).await.unwrap();
    let error = send(address, &secret, &"x".repeat(65_537)).await.unwrap_err();
    assert!(matches!(error, DeliverError::TooLong { to: Vault::SecretsManager, length: 65_537, .. }));
}

#[tokio::test]
async fn an_empty_text_is_refused_without_asking() {
    let error = send("127.0.0.1:9", &delivery(Vault::Ssm, "/a"), "").await.unwrap_err();
    assert!(matches!(error, DeliverError::Empty { .. }), "{error}");
}

#[tokio::test]
async fn refusals_say_what_is_missing() {
    let kms = "User: arn:aws:sts::1:assumed-role/R/s is not authorized to perform: kms:Decrypt on this resource";
    for (to, code, message, wanted) in [
        (Vault::SecretsManager, "AccessDeniedException", "no", "secretsmanager:GetSecretValue"),
        (Vault::Ssm, "AccessDeniedException", "no", "ssm:GetParameter"),
        (Vault::SecretsManager, "AccessDeniedException", "Access to KMS is not allowed", "kms:GenerateDataKey"),
        (Vault::Ssm, "AccessDeniedException", kms, "kms:Encrypt"),
        (Vault::SecretsManager, "DecryptionFailure", "no", "kms:Decrypt"),
        (Vault::Ssm, "InvalidKeyId", "no", "kms:Decrypt"),
        (Vault::Ssm, "ExpiredTokenException", "no", "renew the credentials"),
        (Vault::Ssm, "ThrottlingException", "Rate exceeded", "--workers"),
        (Vault::SecretsManager, "InvalidRequestException", "it was marked for deletion.", "restore-secret"),
        (Vault::SecretsManager, "InvalidParameterException", "no", "look at Secrets Manager agents/x"),
    ] {
        let server = refusing(400, code, message).await;
        let error = send(&server.address, &delivery(to, "agents/x"), VALUE).await.unwrap_err();
        assert!(error.hint().contains(wanted), "{code}: {error}: {}", error.hint());
        assert!(error.to_string().contains("agents/x in account 123456789012, eu-west-1"), "{error}");
    }
    let error = send("127.0.0.1:9", &delivery(Vault::Ssm, "/a"), VALUE).await.unwrap_err();
    assert!(matches!(error, DeliverError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for (status, code) in [(400, "ThrottlingException"), (500, "InternalServerError")] {
        let server = Between::start("127.0.0.1:9", move |_, nth| match nth {
            0 => Turn::Refuse(status, code, "later".to_owned()),
            _ => Turn::Refuse(400, "AccessDeniedException", "now".to_owned()),
        })
        .await;
        let error = send(&server.address, &delivery(Vault::Ssm, "/a"), VALUE).await.unwrap_err();
        assert!(matches!(error, DeliverError::Denied { .. }), "{error}");
        assert_eq!(server.calls().len(), 2);
    }
}

/// A service that quotes what it refuses does not bring it into an error.
#[tokio::test]
async fn no_error_holds_the_value() {
    let value = "first-line-of-it\nsecond-line-of-it";
    for quoted in [value.to_owned(), "at `second-line-of-it`".to_owned()] {
        let server =
            refusing(400, "ValidationException", &format!("Value '{quoted}' failed to satisfy constraint")).await;
        let error = send(&server.address, &delivery(Vault::Ssm, "/a"), value).await.unwrap_err();
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(shown.contains("failed to satisfy") && !shown.contains("line-of-it"), "{shown}");
    }
}

#[test]
fn texts_stay_as_they_are_and_the_rest_becomes_json() {
    let text = |value: serde_json::Value| text_of(&value).map(|text| text.expose().clone());
    assert_eq!(text(serde_json::json!("a\nb")).as_deref(), Some("a\nb"));
    assert_eq!(
        text(serde_json::json!({"b": [1, true, null], "a": "x"})).as_deref(),
        Some(r#"{"b":[1,true,null],"a":"x"}"#)
    );
    assert_eq!(text(serde_json::json!(12)).as_deref(), Some("12"));
    assert_eq!(text(serde_json::Value::Null), None);
    assert_eq!(format!("{:?}", text_of(&serde_json::json!("hunter2"))), "Some(***)");
}

//! What Terraform gets of the caller's environment.

use crate::bed::{CENTRAL_KEY, DEV, Deploy, Fleet, TerraformWrapper};

/// Issue: "static keys, `AWS_PROFILE`, `TF_WORKSPACE` and `TF_CLI_ARGS` in the caller's environment changing nothing".
#[test]
fn the_callers_settings_change_nothing() {
    let fleet = Fleet::s3();
    let wrapper = TerraformWrapper::new(&fleet);
    let deploy = Deploy::new("a").region("eu-west-1");
    fleet.deploy(&deploy);
    std::fs::create_dir_all(fleet.dir("home").join(".aws")).unwrap();
    std::fs::write(
        fleet.dir("home").join(".aws/credentials"),
        "[tfleet-backend]\naws_access_key_id = AKIAWRONGWRONGWRONG1\naws_secret_access_key = wrong\n\
         [tfleet-target]\naws_access_key_id = AKIAWRONGWRONGWRONG1\naws_secret_access_key = wrong\n\
         [other]\naws_access_key_id = AKIAWRONGWRONGWRONG1\naws_secret_access_key = wrong\n",
    )
    .unwrap();
    let done = fleet
        .apply()
        .env("TFLEET_TERRAFORM_BINARY", wrapper.path())
        .env("AWS_PROFILE", "other")
        .env("AWS_REGION", "ap-southeast-2")
        .env("AWS_ROLE_ARN", "arn:aws:iam::111111111111:role/none")
        .env("TF_WORKSPACE", "prod")
        .env("TF_DATA_DIR", "/nonexistent/data")
        .env("TF_CLI_ARGS", "-no-such-option")
        .env("TF_CLI_ARGS_apply", "-destroy")
        .env("TF_LOG", "TRACE")
        .env("TF_VAR_text", "from the environment")
        .env("TF_TOKEN_example_com", "a-registry-token")
        .run()
        .assert_code(0)
        // DESIGN 5: "is dropped …, with a notice".
        .assert_says(&["TF_WORKSPACE"]);
    drop(done);

    assert_eq!(fleet.store().states(), [deploy.key()], "not below env:/prod/");
    assert_eq!(fleet.store().json(&deploy.key())["outputs"]["text"]["value"], "from the environment");
    let calls = wrapper.calls();
    assert!(calls.len() >= 2);
    for call in calls.iter().filter(|call| call.verb() != "version") {
        let env = &call.env;
        for name in env.keys() {
            let dropped = ["TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_ARGS", "TF_LOG"].iter().any(|n| name.starts_with(n))
                || ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"]
                    .contains(&name.as_str());
            assert!(!dropped, "{name} reached terraform {}", call.verb());
        }
        assert_eq!(env["TF_VAR_text"], "from the environment");
        assert_eq!(env["TF_TOKEN_example_com"], "a-registry-token");
    }
    let applied = &wrapper.calls_of("apply")[0];
    assert_eq!(applied.env["AWS_REGION"], "eu-west-1", "the deployment's own");
    assert_eq!(applied.env["AWS_PROFILE"], "tfleet-target");
    assert!(applied.env.contains_key("AWS_ENDPOINT_URL"));
    for file in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        assert!(!applied.env[file].starts_with(&*fleet.dir("home").to_string_lossy()), "{file} is tfleet's own");
    }
}

/// DESIGN 5: "The variables `assume_role_name`, `terraform_session_name` and `tfleet_backend_profile` … are supplied when
/// the module declares them."
#[test]
fn declared_variables_are_supplied() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy).settings("assume_role:\n  name: Deploy\n  session_name: the-pipeline").root(
        "variable \"assume_role_name\" { type = string }\nvariable \"terraform_session_name\" { type = string }\n\
         variable \"tfleet_backend_profile\" { type = string }\noutput \"given\" {\n  \
         value = [var.assume_role_name, var.terraform_session_name, var.tfleet_backend_profile]\n}\n",
    );
    fleet.apply().run().assert_code(0);
    let given = fleet.store().json(&deploy.key())["outputs"]["given"]["value"].clone();
    assert_eq!(given, serde_json::json!(["Deploy", "the-pipeline", "tfleet-backend"]));
}

/// DESIGN 5: "The tfvars file is passed with `-var-file`": it wins over `*.auto.tfvars` and `TF_VAR_*`.
#[test]
fn the_deployments_file_wins_over_other_variables() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a").more("text = \"from the deployment\"");
    fleet.deploy(&deploy).write("z.auto.tfvars", "text = \"from the root module\"\n");
    fleet.apply().env("TF_VAR_text", "from the environment").run().assert_code(0);
    assert_eq!(fleet.store().json(&deploy.key())["outputs"]["text"]["value"], "from the deployment");
}

/// The right account's role is asked for even where the caller's profile would lead elsewhere: static keys win over a
/// profile for tfleet itself as they do for every AWS SDK, and the caller is who STS says.
#[test]
fn the_caller_is_who_the_sdk_says() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    fleet.deploy(&Deploy::new("a"));
    let config = fleet.dir("home").join("config");
    std::fs::write(&config, "[profile other]\naws_access_key_id = AKIAOTHEROTHEROTHER1\naws_secret_access_key = x\n")
        .unwrap();
    fleet.apply().env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "other").run().assert_code(0);
    assert!(proxy.assumed().iter().all(|call| call.key == CENTRAL_KEY && call.body.contains(DEV.0)));

    // Without static keys the profile is what there is.
    let call = fleet.apply().env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "other");
    call.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").run().assert_code(0);
    assert_eq!(proxy.assumed().pop().unwrap().key, "AKIAOTHEROTHEROTHER1");
}

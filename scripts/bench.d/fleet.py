"""The fleets that are measured, and the two ways to run them: tfleet, and xargs over a plain script."""

import os
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import boto3

ENDPOINT = os.environ["TFLEET_TEST_ENDPOINT"]
TERRAFORM = os.environ["TFLEET_TEST_TERRAFORM"]
TFLEET = os.environ["TFLEET_BENCH_BINARY"]
MIRROR = os.environ["TFLEET_TEST_MIRROR"]

# The keys of moto's own account; buckets and states belong to it.
CENTRAL = {"AWS_ACCESS_KEY_ID": "AKIACENTRALBENCH0001", "AWS_SECRET_ACCESS_KEY": "central-secret-of-the-benchmark-0000001"}

ACCOUNTS = [("111111111111", "dev"), ("222222222222", "staging"), ("333333333333", "prod"), ("444444444444", "tools")]

VARIABLES = """
variable "account_id" { type = string }
variable "account_name" { type = string }
variable "region" { type = string }
variable "project" { type = string }
variable "environment" { type = string }
variable "s3_buckets" { type = map(any) }
"""

DATA = """
resource "terraform_data" "bucket" {
  for_each = var.s3_buckets
  input    = merge({ name = each.key, account = var.account_id, region = var.region }, each.value)
}

output "project" {
  value = var.project
}
"""

BUCKETS = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

resource "aws_s3_bucket" "this" {
  for_each = var.s3_buckets
  bucket   = each.key
}

data "aws_caller_identity" "this" {}

output "account" {
  value = data.aws_caller_identity.this.account_id
}
"""

# Every service that the provider might ask: one that is missing would be looked for on the real network.
SERVICES = ["ec2", "iam", "kms", "organizations", "s3", "sts", "dynamodb", "sqs", "sns", "lambda"]


def aws_provider():
    """The provider block of the real AWS provider, for moto."""
    endpoints = "".join(f'    {service} = "{ENDPOINT}"\n' for service in SERVICES)
    settings = ["s3_force_path_style", "skip_get_ec2_platforms", "skip_metadata_api_check"]
    settings += ["skip_credentials_validation", "skip_region_validation"]
    lines = "".join(f"  {setting} = true\n" for setting in settings)
    return f'provider "aws" {{\n  region = var.region\n{lines}  endpoints {{\n{endpoints}  }}\n}}\n'


def zip_mirror(into):
    """The provider's mirror with a packed archive instead of a folder: Terraform then unpacks a real copy, as it does
    with what a registry gives it."""
    version = "3.39.0"
    for folder in Path(MIRROR).glob(f"*/hashicorp/aws/{version}/*"):
        target = into / folder.relative_to(MIRROR).parent.parent
        target.mkdir(parents=True)
        archive = target / f"terraform-provider-aws_{version}_{folder.name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(folder.iterdir()):
                packed.write(file, file.name)
    return into


class Fleet:
    """A repository of deployments in `top/repo`, with a home, a cache and folders for the output beside it."""

    def __init__(self, top, root, count, mirror=None):
        self.top, self.count = top, count
        self.repo, self.home, self.cache = top / "repo", top / "home", top / "cache"
        self.runs = 0
        for folder in (self.repo, self.home, self.cache):
            folder.mkdir(parents=True)
        (self.repo / "main.tf").write_text(VARIABLES + root)
        accounts = "".join(f'  "{number}":\n    account_name: {name}\n' for number, name in ACCOUNTS)
        (self.repo / "accounts.yaml").write_text("accounts:\n" + accounts)
        if mirror:
            config = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
            (self.home / ".terraformrc").write_text(config)
        self.files = [self.write_deployment(number) for number in range(count)]

    def write_deployment(self, number):
        account, name = ACCOUNTS[number % len(ACCOUNTS)]
        project = f"project-{number:05}"
        path = self.repo / "Accounts" / name / project / "us-east-1.tfvars"
        path.parent.mkdir(parents=True)
        path.write_text(
            f'account_id   = "{account}"\naccount_name = "{name}"\nregion       = "us-east-1"\n'
            f'project      = "{project}"\nenvironment  = "{name}"\n\n'
            f's3_buckets = {{\n  "bench-{project}-data" = {{\n    tags = {{ Owner = "bench", Team = "platform" }}\n  }}\n}}\n'
        )
        return path

    def environment(self):
        """What every process starts with; nothing of the caller's own."""
        path = f"{Path(TERRAFORM).parent}:{os.environ['PATH']}"
        always = {"PATH": path, "HOME": str(self.home), "CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        return always | CENTRAL | {"AWS_ENDPOINT_URL": ENDPOINT, "TFLEET_TERRAFORM_BINARY": TERRAFORM}

    def fresh_state(self, s3):
        """A new place for the states, and the settings that name it."""
        self.runs += 1
        if s3:
            self.bucket = f"bench-{os.getpid()}-{time.monotonic_ns()}"
            client = boto3.client(
                "s3", endpoint_url=ENDPOINT, region_name="us-east-1",
                aws_access_key_id=CENTRAL["AWS_ACCESS_KEY_ID"], aws_secret_access_key=CENTRAL["AWS_SECRET_ACCESS_KEY"],
            )
            client.create_bucket(Bucket=self.bucket)
            client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
            settings = f"state:\n  backend: s3\n  bucket: {self.bucket}\n  region: us-east-1\n  path_style: true\n"
        else:
            self.bucket = None
            self.states = self.top / f"states-{self.runs}"
            settings = f"state:\n  backend: local\n  path: {self.states}\n"
        (self.repo / "tfleet.yaml").write_text(settings)

    def tfleet_command(self, verb, workers, *more):
        return [TFLEET, verb, "--working-dir", str(self.repo), "--workers", str(workers), *more]

    def tfleet(self, verb, workers, *more, cold=False):
        """Runs tfleet to its end and returns the seconds."""
        if cold:
            shutil.rmtree(self.cache)
            self.cache.mkdir()
        environment = self.environment() | {"TFLEET_CACHE_DIR": str(self.cache)}
        return timed(self.tfleet_command(verb, workers, *more), environment, self.top / f"tfleet-{verb}.log")

    def plain(self, steps, workers):
        """Runs `steps` for each deployment in a copied folder of its own, under xargs, and returns the seconds."""
        work = self.top / f"plain-{self.runs}"
        work.mkdir()
        script = self.top / "plain.sh"
        script.write_text(f'#!/bin/sh\n{self.plain_script(work)}{steps}')
        script.chmod(0o755)
        listed = "".join(f"{path}\n" for path in self.files)
        command = ["xargs", "-P", str(workers), "-n", "1", str(script)]
        seconds = timed(command, self.environment(), self.top / "plain.log", listed)
        shutil.rmtree(work)
        return seconds

    def plain_script(self, work):
        """What a careful person writes: a private folder, the key from the path, the same backend arguments as tfleet's."""
        if self.bucket:
            kind = "s3"
            settings = [f"bucket={self.bucket}", "key=$key", "region=us-east-1", "encrypt=true", "use_lockfile=true"]
            settings += ["use_path_style=true", "skip_credentials_validation=true", "skip_requesting_account_id=true"]
        else:
            kind = "local"
            settings = [f"path={self.states}/$key"]
        backend = " ".join(f'-backend-config="{setting}"' for setting in settings)
        return (
            "set -eu\n"
            f"rest=${{1#{self.repo}/Accounts/}}\n"
            "account=${rest%%/*}; rest=${rest#*/}; project=${rest%%/*}\n"
            'key="s3/$account/us-east-1/$project/terraform.tfstate"\n'
            f'folder="{work}/$account-$project"\n'
            'mkdir "$folder"\n'
            f'cp "{self.repo}"/*.tf "$folder"\n'
            'cp "$1" "$folder/deployment.tfvars"\n'
            'cd "$folder"\n'
            f'printf \'terraform {{\\n  backend "{kind}" {{}}\\n}}\\n\' > backend.tf\n'
            f"terraform init -input=false -no-color {backend} > init.log 2>&1\n"
        )


def timed(command, environment, log, text=""):
    """The seconds that `command` takes. What it started is ended with it; if it fails, so does the benchmark."""
    with open(log, "w") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        # Not `communicate(timeout=…)`: it looks every 50 ms whether the process has ended, and the times show that.
        watchdog = threading.Timer(1800, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            process.communicate(text.encode())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            seconds = time.monotonic() - began
            watchdog.cancel()
    if process.returncode != 0:
        end = "".join(open(log, errors="replace").readlines()[-40:])
        raise SystemExit(f"error: {command[0]} {command[1]} ended with {process.returncode}; the end of {log}:\n{end}")
    return seconds

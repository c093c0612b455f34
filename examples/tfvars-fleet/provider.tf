terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }

  # tfleet fills in bucket, key, region, the profile and the lock.
  backend "s3" {
    encrypt = true
  }
}

# No role, no profile and no keys here: tfleet gives Terraform the credentials of the deployment's own account, and
# makes the provider refuse any other.
provider "aws" {
  region = var.region
}

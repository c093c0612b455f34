terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }

  # tfleet, or the Makefile, fills in bucket, key and region.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

# No role, no profile and no keys here: Terraform gets the credentials of the central account.
provider "aws" {
  region = var.region
}

terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }

  # `tfleet mint-accounts` fills in bucket, key and region.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

# The organization's own account, which tfleet has the credentials of. AWS Organizations is the same in all regions.
provider "aws" {
  region = "us-east-1"
}

terraform {
  backend "s3" {
    bucket = "acme-terraform-state"
    key    = "search/terraform.tfstate"
    region = "us-east-1"
  }
}

variable "application" {
  type = string
}

variable "environment" {
  type = string
}

variable "aws_region" {
  type = string
}

resource "terraform_data" "index" {
  input = { name = terraform.workspace, application = var.application, environment = var.environment, region = var.aws_region }
}

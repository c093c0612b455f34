terraform {
  backend "s3" {
    bucket = "acme-terraform-state"
    key    = "lake/prod/storage.tfstate"
    region = "us-east-1"
  }
}

variable "aws_region" {
  type = string
}

resource "terraform_data" "storage" {
  input = "prod in ${var.aws_region}"
}

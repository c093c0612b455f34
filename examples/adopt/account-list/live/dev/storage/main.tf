terraform {
  backend "s3" {
    bucket = "acme-terraform-state"
    key    = "lake/dev/storage.tfstate"
    region = "us-east-1"
  }
}

variable "aws_region" {
  type = string
}

resource "terraform_data" "storage" {
  input = "dev in ${var.aws_region}"
}

terraform {
  backend "s3" {}
}

variable "environment" {
  type = string
}

variable "aws_region" {
  type = string
}

variable "project" {
  type = string
}

variable "plan" {
  type = string
}

variable "tags" {
  type    = map(string)
  default = {}
}

resource "terraform_data" "billing" {
  input = { name = "${var.project}-${var.environment}", region = var.aws_region, plan = var.plan, tags = var.tags }
}

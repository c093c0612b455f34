terraform {
  required_version = ">= 1.5"

  backend "s3" {}
}

variable "env" {
  type = string
}

variable "aws_region" {
  type = string
}

variable "project" {
  type = string
}

variable "size" {
  type = number
}

module "shop" {
  source = "../../modules/shop"

  name = "${var.project}-${var.env}-${var.aws_region}"
  size = var.size
}

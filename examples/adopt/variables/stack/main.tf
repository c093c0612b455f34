terraform {
  backend "s3" {}
}

variable "environment" {
  type = string
}

variable "project" {
  type = string
}

variable "retention" {
  type = string
}

resource "terraform_data" "logs" {
  input = { name = "${var.project}-${var.environment}", retention = var.retention }
}

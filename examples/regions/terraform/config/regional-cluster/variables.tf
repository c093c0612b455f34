# What tfleet supplies: of the file in regions/, and of the account that was minted.

variable "account_name" {
  description = "The name of the account, and so of the cluster."
  type        = string
}

variable "region" {
  description = "The region of the cluster."
  type        = string
}

variable "environment" {
  description = "The environment of the cluster."
  type        = string
}

# What the file sets under `terraform_vars`.

variable "vpc_cidr" {
  description = "The addresses of the cluster's network."
  type        = string
}

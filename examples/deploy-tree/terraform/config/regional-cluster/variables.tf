# What tfleet supplies from the cluster's YAML file and its path.

variable "region" {
  description = "The region of the cluster."
  type        = string
}

variable "environment" {
  description = "The environment of the cluster."
  type        = string
}

variable "alias" {
  description = "The name of the cluster."
  type        = string
}

# What the file sets under `terraform_vars`.

variable "vpc_cidr" {
  description = "The addresses of the cluster's network."
  type        = string
}

variable "domain" {
  description = "The domain below which the cluster's API is reached."
  type        = string
}

variable "key_deletion_days" {
  description = "How many days a deleted encryption key can be had back, 7 to 30."
  type        = number
  default     = 30
}

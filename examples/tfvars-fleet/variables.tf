variable "account_id" {
  type        = string
  description = "The account that the resources belong to."
}

variable "account_name" {
  type = string
}

variable "region" {
  type = string
}

variable "project" {
  type = string
}

variable "environment" {
  type    = string
  default = "development"
}

variable "tags" {
  type    = map(string)
  default = {}
}

variable "s3_buckets" {
  description = "Buckets by name. policy_file is a path from the top of the repository."
  type = map(object({
    policy_file   = optional(string)
    force_destroy = optional(bool, false)
  }))
  default = {}
}

variable "kms_keys" {
  description = "Keys by alias."
  type = map(object({
    description             = string
    policy_file             = optional(string)
    deletion_window_in_days = optional(number, 30)
  }))
  default = {}
}

variable "sqs_queues" {
  description = "Queues by name."
  type = map(object({
    message_retention_seconds = optional(number, 345600)
  }))
  default = {}
}

# The root module of the whole fleet: every tfvars file below Accounts/ is one deployment of it, with a state of its own.
#
# It creates nothing outside Terraform. `terraform_data` is a resource of Terraform's own that only remembers its input,
# which is enough to see plans, applies, changes and destroys. A real fleet has aws_s3_bucket and aws_kms_key here.

terraform {
  required_version = ">= 1.4"
}

variable "account_id" {
  type        = string
  description = "The account that the resources belong to."
}

variable "region" {
  type = string
}

variable "s3_buckets" {
  description = "Buckets by name."
  type = map(object({
    versioning = optional(bool, true)
    purpose    = optional(string, "")
  }))
  default = {}
}

variable "kms_keys" {
  description = "Encryption keys by alias."
  type = map(object({
    description   = optional(string, "")
    rotation_days = optional(number, 365)
    policy_file   = optional(string)
  }))
  default = {}
}

variable "sqs_queues" {
  description = "Queues by name."
  type = map(object({
    retention_days = optional(number, 4)
  }))
  default = {}
}

resource "terraform_data" "bucket" {
  for_each = var.s3_buckets

  input = {
    arn        = "arn:aws:s3:::${each.key}"
    versioning = each.value.versioning
    purpose    = each.value.purpose
  }
}

resource "terraform_data" "key" {
  for_each = var.kms_keys

  input = {
    arn           = "arn:aws:kms:${var.region}:${var.account_id}:alias/${each.key}"
    rotation_days = each.value.rotation_days
    # A file that a tfvars file names is copied to where Terraform runs, at the same path.
    policy = each.value.policy_file == null ? null : jsondecode(file("${path.root}/${each.value.policy_file}"))
  }
}

resource "terraform_data" "queue" {
  for_each = var.sqs_queues

  input = {
    arn            = "arn:aws:sqs:${var.region}:${var.account_id}:${each.key}"
    retention_days = each.value.retention_days
  }
}

output "arns" {
  description = "What this deployment would have created."
  value = sort(concat(
    [for bucket in terraform_data.bucket : bucket.output.arn],
    [for key in terraform_data.key : key.output.arn],
    [for queue in terraform_data.queue : queue.output.arn],
  ))
}

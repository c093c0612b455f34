# What tfleet supplies from the cluster's YAML file and its path. The account and the region are those of the pipeline.

variable "region" {
  description = "The region of the pipeline."
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

# What the rule sets under `variables` in tfleet.yaml.

variable "target_account_id" {
  description = "The account of the cluster."
  type        = string
}

variable "state_bucket" {
  description = "The bucket of the states."
  type        = string
}

variable "connection_arn" {
  description = "The CodeStar connection to the repository's host; authorize it once in the console."
  type        = string
}

variable "repository" {
  description = "The repository, as owner/name."
  type        = string
}

variable "branch" {
  description = "The branch that is deployed."
  type        = string
  default     = "main"
}

variable "build_image" {
  description = "An image with tfleet, Terraform, git and make in it."
  type        = string
}

variable "role_name" {
  description = "The role that is taken in the cluster's account."
  type        = string
  default     = "OrganizationAccountAccessRole"
}

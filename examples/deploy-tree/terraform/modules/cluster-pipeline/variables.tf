variable "name" {
  description = "The name of the pipeline, and of everything that belongs to it."
  type        = string
}

variable "deployment" {
  description = "The deployment of tfleet that the pipeline runs."
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
}

variable "build_image" {
  description = "An image with tfleet, Terraform, git and make in it."
  type        = string
}

variable "target_role_arn" {
  description = "The role that the pipeline may assume: the one in the cluster's account."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}

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

# Outputs of the regional cluster, see `inputs` in tfleet.yaml.

variable "regional_vpc_id" {
  description = "The network of the regional cluster that this one belongs to."
  type        = string
}

variable "regional_api_endpoint" {
  description = "Where the API of the regional cluster is."
  type        = string

  validation {
    condition     = can(regex("^https://", var.regional_api_endpoint))
    error_message = "The API of the regional cluster is an https address."
  }
}

# What the file sets under `terraform_vars`.

variable "vpc_cidr" {
  description = "The addresses of the cluster's network."
  type        = string
}

variable "node_count" {
  description = "How many nodes the cluster has, 1 or 2."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2], var.node_count)
    error_message = "A management cluster has one node or two."
  }
}

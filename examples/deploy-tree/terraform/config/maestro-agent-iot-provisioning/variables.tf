variable "region" {
  description = "The region of the broker."
  type        = string
}

variable "environment" {
  description = "The environment, a part of the policy's name."
  type        = string
}

variable "region_alias" {
  description = "The short name of the region, a part of the policy's name."
  type        = string
}

variable "cluster" {
  description = "The management cluster: Maestro's name for the consumer, in client ids and topics."
  type        = string
}

variable "topic_prefix" {
  description = "What the topics of all consumers begin with."
  type        = string
  default     = "sources/maestro/consumers"
}

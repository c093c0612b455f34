# What stands in for a regional cluster: its network, its encryption key, and the address of its API where the
# account's workloads look for it. Put your cluster here.

locals {
  api_endpoint = "https://api.${var.alias}.${var.domain}"

  tags = {
    Name        = var.alias
    Environment = var.environment
  }
}

resource "aws_vpc" "this" {
  cidr_block = var.vpc_cidr
  tags       = local.tags
}

resource "aws_kms_key" "this" {
  description             = "Secrets of the cluster ${var.alias}"
  deletion_window_in_days = var.key_deletion_days
  enable_key_rotation     = true
  tags                    = local.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.alias}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_ssm_parameter" "api_endpoint" {
  name        = "/clusters/${var.alias}/api-endpoint"
  description = "Where the API of the cluster is"
  type        = "String"
  value       = local.api_endpoint
  tags        = local.tags
}

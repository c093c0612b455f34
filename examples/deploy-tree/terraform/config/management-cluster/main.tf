# What stands in for a management cluster: its network, a bucket for its backups, and what its agent has to know. Put your
# cluster here.

locals {
  tags = {
    Name        = var.alias
    Environment = var.environment
  }
}

resource "aws_vpc" "this" {
  cidr_block = var.vpc_cidr
  tags       = local.tags
}

resource "aws_s3_bucket" "backups" {
  # A prefix, because all accounts of the world share the names of buckets.
  bucket_prefix = "${var.alias}-"
  tags          = local.tags
}

resource "aws_ssm_parameter" "agent" {
  name        = "/clusters/${var.alias}/agent"
  description = "What the agent of the cluster has to know"
  type        = "String"
  tags        = local.tags

  value = jsonencode({
    backups  = aws_s3_bucket.backups.id
    nodes    = var.node_count
    regional = { api_endpoint = var.regional_api_endpoint, vpc_id = var.regional_vpc_id }
  })
}

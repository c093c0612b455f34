# What stands in for a management cluster: its network, and what its agent has to know. Put your cluster here.

resource "aws_vpc" "this" {
  cidr_block = var.vpc_cidr

  tags = {
    Name        = var.account_name
    Environment = var.environment
  }
}

resource "aws_ssm_parameter" "agent" {
  name        = "/clusters/${var.account_name}/agent"
  description = "What the agent of the cluster has to know"
  type        = "String"
  value       = jsonencode({ regional_vpc_id = var.regional_vpc_id })
}

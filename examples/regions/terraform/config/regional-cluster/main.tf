# What stands in for a regional cluster: its network. Put your cluster here.

resource "aws_vpc" "this" {
  cidr_block = var.vpc_cidr

  tags = {
    Name        = var.account_name
    Environment = var.environment
  }
}

output "vpc_id" {
  description = "The cluster's network."
  value       = aws_vpc.this.id
}

# The management clusters of the same environment and region take these as inputs.

output "vpc_id" {
  description = "The cluster's network."
  value       = aws_vpc.this.id
}

output "api_endpoint" {
  description = "Where the cluster's API is."
  value       = local.api_endpoint
}

output "kms_key_arn" {
  description = "The key that encrypts the cluster's secrets."
  value       = aws_kms_key.this.arn
}

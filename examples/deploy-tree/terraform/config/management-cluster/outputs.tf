output "vpc_id" {
  description = "The cluster's network."
  value       = aws_vpc.this.id
}

output "backups_bucket" {
  description = "The bucket of the cluster's backups."
  value       = aws_s3_bucket.backups.id
}

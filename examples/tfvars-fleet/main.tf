locals {
  tags = merge(var.tags, {
    Project     = var.project
    Environment = var.environment
  })

  bucket_policies = { for name, bucket in var.s3_buckets : name => bucket.policy_file if bucket.policy_file != null }
}

resource "aws_s3_bucket" "this" {
  for_each = var.s3_buckets

  bucket        = each.key
  force_destroy = each.value.force_destroy
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.bucket_policies

  bucket = aws_s3_bucket.this[each.key].id
  policy = templatefile("${path.root}/${each.value}", {
    bucket     = each.key
    account_id = var.account_id
  })

  # S3 refuses two changes of one bucket's settings at the same time.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_kms_key" "this" {
  for_each = var.kms_keys

  description             = each.value.description
  deletion_window_in_days = each.value.deletion_window_in_days
  enable_key_rotation     = true
  policy = each.value.policy_file == null ? null : templatefile("${path.root}/${each.value.policy_file}", {
    account_id = var.account_id
  })
  tags = local.tags
}

resource "aws_kms_alias" "this" {
  for_each = aws_kms_key.this

  name          = "alias/${each.key}"
  target_key_id = each.value.key_id
}

resource "aws_sqs_queue" "this" {
  for_each = var.sqs_queues

  name                      = each.key
  message_retention_seconds = each.value.message_retention_seconds
  tags                      = local.tags
}

output "buckets" {
  value = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
}

output "keys" {
  value = { for name, key in aws_kms_key.this : name => key.arn }
}

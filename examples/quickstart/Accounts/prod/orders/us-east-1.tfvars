account_id = "333333333333"
region     = "us-east-1"

s3_buckets = {
  "shop-prod-orders"         = { purpose = "orders as they come in" }
  "shop-prod-orders-archive" = { purpose = "orders of former years" }
}

kms_keys = {
  "orders" = {
    description   = "encrypts orders at rest"
    rotation_days = 90
    policy_file   = "policies/key-administrators.json"
  }
}

# A block that is commented out does not count, here as in Terraform: no SQS in this deployment.
# sqs_queues = {
#   "orders-retry" = { retention_days = 14 }
# }

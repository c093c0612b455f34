account_id   = "123456789013"
account_name = "wkld-a-prd"
region       = "us-east-1"
project      = "order-pipeline"
environment  = "production"

tags = {
  Owner = "Order Team"
}

s3_buckets = {
  "wkld-a-prd-orders-us-east-1" = {}
}

kms_keys = {
  "orders" = {
    description = "encrypts orders at rest"
    policy_file = "KMS/key-policy.json"
  }
}

sqs_queues = {
  "orders-incoming"    = {}
  "orders-dead-letter" = { message_retention_seconds = 1209600 }
}

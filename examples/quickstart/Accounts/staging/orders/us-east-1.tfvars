# Buckets and a key: more than one service, so the state is combined/shop-staging/us-east-1/orders/terraform.tfstate.
account_id = "222222222222"
region     = "us-east-1"

s3_buckets = {
  "shop-staging-orders" = { purpose = "orders as they come in" }
}

kms_keys = {
  "orders" = {
    description = "encrypts orders at rest"
    policy_file = "policies/key-administrators.json"
  }
}

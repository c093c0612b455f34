# The same project in another region is another deployment with a state of its own.
account_id = "333333333333"
region     = "eu-west-1"

s3_buckets = {
  "shop-prod-orders-eu" = { purpose = "orders as they come in, for customers in Europe" }
}

kms_keys = {
  "orders" = {
    description   = "encrypts orders at rest"
    rotation_days = 90
    policy_file   = "policies/key-administrators.json"
  }
}

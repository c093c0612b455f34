account_id   = "123456789014"
account_name = "wkld-a-dev"
region       = "us-east-1"
project      = "test-4-poc-1"
environment  = "development"

tags = {
  Owner = "Application Team"
}

s3_buckets = {
  "wkld-a-dev-test-4-poc-1" = {
    policy_file   = "Accounts/test-4-poc-1/bucket-policy.json"
    force_destroy = true
  }
}

# Not yet:
# kms_keys = {
#   "test-4-poc-1" = { description = "encrypts the test bucket" }
# }

account_id   = "123456789013"
account_name = "wkld-a-prd"
region       = "us-east-1"
project      = "encryption-keys"
environment  = "production"

tags = {
  Owner = "Security Team"
}

kms_keys = {
  "payments" = {
    description = "encrypts payment records"
    policy_file = "KMS/key-policy.json"
  }
  "exports" = {
    description = "encrypts nightly exports"
    policy_file = "KMS/key-policy.json"
  }
}

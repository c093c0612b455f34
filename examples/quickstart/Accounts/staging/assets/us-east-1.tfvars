account_id = "222222222222"
region     = "us-east-1"

s3_buckets = {
  "shop-staging-assets" = { purpose = "pictures of what is sold" }
}

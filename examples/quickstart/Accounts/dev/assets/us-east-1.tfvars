account_id = "111111111111"
region     = "us-east-1"

s3_buckets = {
  "shop-dev-assets"     = { purpose = "pictures of what is sold" }
  "shop-dev-thumbnails" = { versioning = false }
}

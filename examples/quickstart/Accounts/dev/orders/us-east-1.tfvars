# One deployment: the project `orders` (the name of this folder) in the account shop-dev, in us-east-1.
#
# Only S3 is described here, so the state is s3/shop-dev/us-east-1/orders/terraform.tfstate.
account_id = "111111111111"
region     = "us-east-1"

s3_buckets = {
  "shop-dev-orders" = {
    versioning = false
    purpose    = "orders as they come in"
  }
}

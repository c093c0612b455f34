# What `tfleet mint-accounts` reads, and writes to accounts.json.
output "accounts" {
  description = "The accounts, by name."
  value = {
    for name, account in aws_organizations_account.this : name => {
      id       = account.id
      name     = name
      region   = local.accounts[name].region
      type     = local.accounts[name].type
      role_arn = "arn:${data.aws_partition.this.partition}:iam::${account.id}:role/${local.accounts[name].role_name}"
    }
  }
}

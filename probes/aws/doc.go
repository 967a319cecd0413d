// Package aws looks at the part of a cluster that lives in AWS before an upgrade
// touches it: the API's balancer and its targets, VPC and subnets, instances,
// auto-scaling groups, what the instance types and images need, the state
// bucket, quotas for the machines of a surge, and permissions.
//
// Each check takes the few calls that it makes as an interface, reads only, and
// returns findings. "The thing observed is unhealthy" is a finding, "it could
// not be observed" is an error, which says whether credentials, region,
// permission or throttling was the reason and what to do. Credentials come from
// the SDK's default chain and are never logged.
package aws

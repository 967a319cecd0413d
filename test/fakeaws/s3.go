package fakeaws

import (
	"encoding/json"
	"net/http"
)

// Bucket is one of S3.
type Bucket struct {
	Region           string
	Versioned        bool
	Public           bool // by its policy
	BlocksPublic     bool
	NoPublicSettings bool // it has no public access block at all
	Forbidden        bool
}

func (c *call) s3() {
	name := split(c.r.URL.Path)[0]
	q := c.r.URL.Query()
	op := "HeadBucket"
	for key, name := range map[string]string{"versioning": "GetBucketVersioning", "publicAccessBlock": "GetPublicAccessBlock", "policyStatus": "GetBucketPolicyStatus"} {
		if q.Has(key) {
			op = name
		}
	}
	if !c.begin(op) {
		return
	}
	b := c.a.S3[name]
	switch {
	case b == nil:
		c.fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	case b.Forbidden:
		c.fail(http.StatusForbidden, "AccessDenied", "Access Denied")
		return
	case b.Region != "" && b.Region != c.region:
		c.w.Header().Set("X-Amz-Bucket-Region", b.Region)
		c.fail(http.StatusMovedPermanently, "PermanentRedirect", "The bucket must be addressed using another endpoint")
		return
	}
	switch op {
	case "HeadBucket":
		c.w.Header().Set("X-Amz-Bucket-Region", c.a.Region)
		c.w.WriteHeader(http.StatusOK)
	case "GetBucketVersioning":
		s := ""
		if b.Versioned {
			s = text("Status", "Enabled")
		}
		c.xml(http.StatusOK, el("VersioningConfiguration", s))
	case "GetPublicAccessBlock":
		if b.NoPublicSettings {
			c.fail(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
			return
		}
		s := ""
		for _, n := range []string{"BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"} {
			s += text(n, b.BlocksPublic)
		}
		c.xml(http.StatusOK, el("PublicAccessBlockConfiguration", s))
	case "GetBucketPolicyStatus":
		if !b.Public {
			c.fail(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist")
			return
		}
		c.xml(http.StatusOK, el("PolicyStatus", text("IsPublic", "TRUE")))
	}
}

func (c *call) quotas() {
	if !c.begin("GetServiceQuota") {
		return
	}
	var in struct{ ServiceCode, QuotaCode string }
	if err := json.Unmarshal(c.body, &in); err != nil {
		c.fail(http.StatusBadRequest, "SerializationException", err.Error())
		return
	}
	v, ok := c.a.Quotas[in.ServiceCode+"/"+in.QuotaCode]
	if !ok {
		c.fail(http.StatusBadRequest, "NoSuchResourceException", "The request failed because the specified service quota does not exist")
		return
	}
	c.json(http.StatusOK, object{"Quota": object{"ServiceCode": in.ServiceCode, "QuotaCode": in.QuotaCode, "Value": v}})
}

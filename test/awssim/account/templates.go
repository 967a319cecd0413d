package account

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

// template is a launch template with its versions; the mock keeps one version.
type template struct {
	id, name string
	versions []*version
	chosen   int // the default version
	tags     map[string]string
}

type version struct {
	types.ResponseLaunchTemplateData
	number int
}

// version finds one by its number or by what AWS calls $Latest and $Default.
func (t *template) version(which string) *version {
	number := t.chosen
	switch which {
	case "", "$Default":
	case "$Latest":
		number = t.versions[len(t.versions)-1].number
	default:
		number, _ = strconv.Atoi(which)
	}
	for _, v := range t.versions {
		if v.number == number {
			return v
		}
	}
	return nil
}

func (t *template) add(data *types.RequestLaunchTemplateData) (*version, error) {
	v := &version{number: len(t.versions) + 1}
	if err := wire.Copy(&v.ResponseLaunchTemplateData, data); err != nil {
		return nil, err
	}
	t.versions = append(t.versions, v)
	return v, nil
}

func (t *template) describe() types.LaunchTemplate {
	return types.LaunchTemplate{
		LaunchTemplateId: &t.id, LaunchTemplateName: &t.name, Tags: sorted(t.tags),
		DefaultVersionNumber: aws.Int64(int64(t.chosen)), LatestVersionNumber: aws.Int64(int64(t.versions[len(t.versions)-1].number)),
	}
}

func (t *template) describeVersion(v *version) types.LaunchTemplateVersion {
	data := v.ResponseLaunchTemplateData
	return types.LaunchTemplateVersion{
		LaunchTemplateId: &t.id, LaunchTemplateName: &t.name, VersionNumber: aws.Int64(int64(v.number)), DefaultVersion: aws.Bool(v.number == t.chosen), LaunchTemplateData: &data,
	}
}

// find finds a template by its id or its name.
func (e *ec2API) find(id, name string) *template {
	for _, t := range e.templates {
		if id != "" && t.id == id || id == "" && t.name == name {
			return t
		}
	}
	return nil
}

func (e *ec2API) must(id, name *string) (*template, error) {
	if t := e.find(aws.ToString(id), aws.ToString(name)); t != nil {
		return t, nil
	}
	if id == nil {
		return nil, wire.Fail("InvalidLaunchTemplateName.NotFoundException", "At least one of the launch templates specified in the request does not exist.")
	}
	return nil, wire.Fail("InvalidLaunchTemplateId.NotFound", "The launch template %s does not exist", *id)
}

// CreateLaunchTemplate makes a template with its first version.
func (e *ec2API) CreateLaunchTemplate(_ context.Context, in *ec2.CreateLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateOutput, error) {
	if e.find("", aws.ToString(in.LaunchTemplateName)) != nil {
		return nil, wire.Fail("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
	}
	e.made++
	t := &template{id: fmt.Sprintf("lt-%017x", e.made), name: aws.ToString(in.LaunchTemplateName), chosen: 1, tags: map[string]string{}}
	if _, err := t.add(in.LaunchTemplateData); err != nil {
		return nil, err
	}
	for _, s := range in.TagSpecifications {
		for _, tag := range s.Tags {
			t.tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	e.templates[t.id] = t
	d := t.describe()
	return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: &d}, nil
}

// CreateLaunchTemplateVersion adds a version.
func (e *ec2API) CreateLaunchTemplateVersion(_ context.Context, in *ec2.CreateLaunchTemplateVersionInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	t, err := e.must(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	v, err := t.add(in.LaunchTemplateData)
	if err != nil {
		return nil, err
	}
	d := t.describeVersion(v)
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: &d}, nil
}

// ModifyLaunchTemplate chooses the default version.
func (e *ec2API) ModifyLaunchTemplate(_ context.Context, in *ec2.ModifyLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error) {
	t, err := e.must(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	if v := t.version(aws.ToString(in.DefaultVersion)); v != nil {
		t.chosen = v.number
	}
	d := t.describe()
	return &ec2.ModifyLaunchTemplateOutput{LaunchTemplate: &d}, nil
}

// DescribeLaunchTemplates lists templates by name, id or tag.
func (e *ec2API) DescribeLaunchTemplates(_ context.Context, in *ec2.DescribeLaunchTemplatesInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplatesOutput, error) {
	out := &ec2.DescribeLaunchTemplatesOutput{}
	for _, t := range e.templates {
		ok, err := matches(in.Filters, t.tags, map[string]string{"launch-template-name": t.name})
		if err != nil {
			return nil, err
		}
		if ok && (len(in.LaunchTemplateIds) == 0 || slices.Contains(in.LaunchTemplateIds, t.id)) && (len(in.LaunchTemplateNames) == 0 || slices.Contains(in.LaunchTemplateNames, t.name)) {
			out.LaunchTemplates = append(out.LaunchTemplates, t.describe())
		}
	}
	sort.Slice(out.LaunchTemplates, func(i, j int) bool {
		return *out.LaunchTemplates[i].LaunchTemplateName < *out.LaunchTemplates[j].LaunchTemplateName
	})
	return out, nil
}

// DescribeLaunchTemplateVersions lists a template's versions, or those asked for.
func (e *ec2API) DescribeLaunchTemplateVersions(_ context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	t, err := e.must(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{}
	for _, v := range t.versions {
		asked := len(in.Versions) == 0
		for _, which := range in.Versions {
			asked = asked || t.version(which) == v
		}
		if asked {
			out.LaunchTemplateVersions = append(out.LaunchTemplateVersions, t.describeVersion(v))
		}
	}
	return out, nil
}

// DeleteLaunchTemplate deletes a template with all its versions.
func (e *ec2API) DeleteLaunchTemplate(_ context.Context, in *ec2.DeleteLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.DeleteLaunchTemplateOutput, error) {
	t, err := e.must(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	delete(e.templates, t.id)
	return &ec2.DeleteLaunchTemplateOutput{}, nil
}

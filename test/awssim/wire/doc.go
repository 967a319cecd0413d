// Package wire speaks the protocols of AWS' services towards a client and calls
// Go methods in the form of aws-sdk-go-v2 behind them: it turns a request of the
// query, ec2query or JSON protocol into an Input, and an Output into an answer.
//
// aws-sdk-go-v2 keeps the wire names of members in generated code that goes one
// way only, a client's. The models of aws-sdk-go v1 keep them in struct tags, and
// the members have the same names; so requests are read into v1's types, by
// their tags, and copied member by member into v2's, and answers the other way
// round. The rules are those of the protocols' documentation
// (https://smithy.io/2.0/aws/protocols/): what v1's tags call flattened,
// locationNameList and queryName.
package wire

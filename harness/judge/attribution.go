package judge

func (j *judgement) attribute(o *Outage) {}

@kubernetes @gate
Feature: Rolling back when a version of a kind has gone

  The chart has an object of a kind that is not Kubernetes' own. The new release writes it in a new version, and its rollout ends with the
  old one being served no more. The chart of before is written in the old one: before it can come back, the cluster must serve that again.

  Background:
    Given the service "lantern"
    And 40 journeys per second by 20 users

  Scenario: The version of before is served again, and the chart of before comes back
    When release "v2-drops-v1beta1" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes

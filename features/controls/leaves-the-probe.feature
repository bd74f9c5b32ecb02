@control @kubernetes @gate
Feature: Control: the image goes back and the readiness probe does not

  Users are served again. The probe that lets every rollout succeed is still there, for the next release; a
  comparison with the manifests of before finds it.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The probe of the bad release stays
    When release "v2-skips-readiness" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-the-probe"
    Then the drill fails because "the plan ran as written"

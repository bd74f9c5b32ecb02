@control @kubernetes @gate
Feature: Control: helm rollback to a version of a kind that has gone

  The revision of before has an object of a version that the cluster serves no more. Helm finds no kind for it and changes nothing: the
  pods of the bad release go on.

  Background:
    Given the service "lantern"
    And 40 journeys per second by 20 users

  Scenario: Helm finds no kind for what was there before
    When release "v2-drops-v1beta1" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "helm-rollback"
    Then the drill fails because "service is restored"
